package proxy

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// A picture of one pixel, in GIF.
var pixel = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")

// picturesPage has this many pictures, and says in its title how many have come, and how.
const picturesPage = `<!doctype html><link rel=icon href=data:,><body><script>
const all = Array.from({length: %d}, (_, i) => new Promise(done => {
  const image = new Image();
  image.onload = () => done(1); image.onerror = () => done(0);
  image.src = '/picture/' + i;
}));
Promise.all(all).then(came => {
  const ways = new Set(performance.getEntriesByType('resource').map(e => e.nextHopProtocol));
  document.title = came.filter(x => x).length + ' by ' + [...ways];
});
</script>`

// TestHTTP2Chromium has a browser load a page with many small pictures: all come, over one connection
// of HTTP/2.
func TestHTTP2Chromium(t *testing.T) {
	chromium := tool(t, "chromium", "apt-get install chromium")
	const pictures = 200
	backend := startBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/picture/") {
			w.Header().Set("Content-Type", "image/gif")
			w.Header().Set("Cache-Control", "no-store")
			_, _ = w.Write(pixel)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, picturesPage, pictures)
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	counted := &countingListener{Listener: ln}
	front := secureFront(t, counted)
	front.TLS.NextProtos = []string{"h2", "http/1.1"}
	serveFrontUntilEnd(t, New(testOptions(backend)), front)
	dom := run(t, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", "--user-data-dir="+t.TempDir(),
		"--no-proxy-server", "--virtual-time-budget=20000", "--dump-dom", "https://"+ln.Addr().String()+"/")
	if want := fmt.Sprintf("<title>%d by h2</title>", pictures); !strings.Contains(dom, want) {
		t.Errorf("got %q, want %s", dom, want)
	}
	// It may open a second one, which it gives up once the first speaks HTTP/2.
	if n := counted.accepted.Load(); n > 2 {
		t.Errorf("%d connections", n)
	}
}

// countingListener counts the connections that it accepts.
type countingListener struct {
	net.Listener
	accepted atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return conn, err
}
