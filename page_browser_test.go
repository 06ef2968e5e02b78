package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a page in a browser, of which it notes what should not be: messages on the console,
// which violations of the policy are among, uncaught errors, and requests that lead elsewhere.
type browser struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu      sync.Mutex
	faults  []string
	allowed []string // parts of faults that are meant to be
}

// openPage opens the page of a management listener in a browser of its own.
func openPage(t *testing.T, base string) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(tool(t, "chromium")), chromedp.NoSandbox,
		chromedp.Flag("no-proxy-server", true), chromedp.Flag("host-resolver-rules", "MAP lb.internal 127.0.0.1"), chromedp.Flag("ignore-certificate-errors", true), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900))
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancelPage := chromedp.NewContext(allocator)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx); cancelPage() })
	b := &browser{t: t, ctx: ctx, base: base}
	if err := chromedp.Listen(ctx, b.note); err != nil {
		t.Fatal(err)
	}
	enable(b, network.Enable, network.EnableParams{})
	enable(b, log.Enable, cdp.Empty{})
	enable(b, cdpruntime.Enable, cdp.Empty{})
	b.do(chromedp.Navigate(base + "/"))
	return b
}

func enable[P any](b *browser, command cdp.Command[P, cdp.Empty], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		b.t.Fatal(err)
	}
}

// note keeps what should not be.
func (b *browser) note(event any) {
	fault := ""
	switch e := event.(type) {
	case *cdpruntime.EventConsoleAPICalled:
		fault = "console: " + string(e.Type)
		for _, a := range e.Args {
			fault += " " + string(a.Value) + a.Description
		}
	case *cdpruntime.EventExceptionThrown:
		fault = "uncaught: " + e.ExceptionDetails.Text
		if thrown := e.ExceptionDetails.Exception; thrown != nil {
			fault += " " + thrown.Description
		}
	case *log.EventEntryAdded:
		fault = fmt.Sprintf("log: %s %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL)
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, b.base+"/") {
			fault = "request: " + e.Request.URL
		}
	}
	if fault != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.faults = append(b.faults, fault)
	}
}

// allow names a part of faults that are meant to be.
func (b *browser) allow(parts ...string) { b.allowed = append(b.allowed, parts...) }

// requireNoFaults checks that nothing was noted but what is allowed.
func (b *browser) requireNoFaults() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
next:
	for _, fault := range b.faults {
		for _, part := range b.allowed {
			if strings.Contains(fault, part) {
				continue next
			}
		}
		b.t.Error(fault)
	}
}

// do runs actions, within the deadline of tests.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, deadline)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns what a script of the tests makes of the page, as text.
func (b *browser) eval(script string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, deadline)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("(async () => String(await ("+script+")))()", chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", script, err)
	}
	return text
}

// prefer lets the reader prefer light or dark.
func (b *browser) prefer(scheme string) {
	b.t.Helper()
	enable(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

// picture returns the page as a PNG.
func (b *browser) picture() []byte {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, deadline)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	return png
}

// await waits until a script is true, and returns how long that took.
func (b *browser) await(script string) time.Duration {
	b.t.Helper()
	began := time.Now()
	for time.Since(began) < deadline {
		if b.eval("!!("+script+")") == "true" {
			return time.Since(began)
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.t.Fatalf("%s is not so after %s; the page shows\n%s", script, deadline, b.eval("document.body.innerText"))
	return 0
}

// click clicks the button with this name, or text, once it is there.
func (b *browser) click(name string) {
	b.t.Helper()
	button := fmt.Sprintf(`[...document.querySelectorAll("button")].find(e => e.checkVisibility() && (e.getAttribute("aria-label") || e.textContent) === %q)`, name)
	b.await(button)
	b.eval(button + ".click()")
}

// shows waits until the page shows a text.
func (b *browser) shows(text string) time.Duration {
	b.t.Helper()
	return b.await(fmt.Sprintf("document.body.innerText.includes(%q)", text))
}
