package management

import (
	"io"
	"maps"
	"slices"

	"loadbalancer/proxy/metrics"
)

// certificateWarning is what /readyz says of certificates, a line each: with the one before, TLS
// goes on.
func (m *Server) certificateWarning() (text string) {
	for _, fault := range m.TLS.Faults() {
		text += "warning: " + fault + "\n"
	}
	return text
}

// writeCertificates writes when certificates expire.
func (m *Server) writeCertificates(w io.Writer) {
	expiries := m.TLS.Expiries()
	metrics.Family(w, "lb_certificate_expiry_seconds", "gauge", "When the certificate for a name expires, in Unix time; of several, the first.")
	for _, name := range slices.Sorted(maps.Keys(expiries)) {
		_, _ = w.Write(metrics.AppendSample(nil, "lb_certificate_expiry_seconds", metrics.Label("name", name), uint64(expiries[name].Unix())))
	}
	metrics.Single(w, "lb_certificate_faults", "gauge", "Certificates that cannot be used as their files are now, are missing or not renewed, or have expired or soon will.", len(m.TLS.Faults()))
}
