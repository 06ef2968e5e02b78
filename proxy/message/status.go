package message

import (
	"net/http"
	"strconv"
)

// AppendStatus begins the header of a response of the balancer's own. size is that of its body in
// bytes.
func AppendStatus(dst []byte, status, size int) []byte {
	dst = strconv.AppendInt(append(dst, "HTTP/1.1 "...), int64(status), 10)
	dst = append(append(append(dst, ' '), http.StatusText(status)...), "\r\nContent-Length: "...)
	return append(strconv.AppendInt(dst, int64(size), 10), "\r\n"...)
}
