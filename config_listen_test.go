package main

import (
	"testing"

	"loadbalancer/proxy"
	"loadbalancer/proxy/listen"
)

func TestPorts(t *testing.T) {
	certified := []listen.CertificateConfig{{Certificate: "a.pem", Key: "a.key"}}
	for _, test := range []struct {
		listen, secure, redirect string
		certificates             []listen.CertificateConfig
		want                     proxy.Ports
	}{
		{":8080", "", "", nil, proxy.Ports{}},
		{":443", "", "", certified, proxy.Ports{TLS: 443, TLSAlone: true}},
		{":443", "", ":80", certified, proxy.Ports{TLS: 443, TLSAlone: true, Redirect: 80}},
		{":8080", "127.0.0.1:8443", ":80", certified, proxy.Ports{TLS: 8443, Redirect: 80}},
		{":8080", ":0", "unix:/run/lb", certified, proxy.Ports{TLS: -1, Redirect: -1}},
	} {
		c := serverConfig{Config: listen.Config{Listen: addressOf(t, test.listen), TLS: listen.TLSConfig{
			Listen: addressOf(t, test.secure), RedirectFrom: addressOf(t, test.redirect), Certificates: test.certificates,
		}}}
		if got := c.ports(); got != test.want {
			t.Errorf("%+v: %+v", test, got)
		}
	}
}
