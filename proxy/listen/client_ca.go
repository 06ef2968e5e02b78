package listen

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
)

const allowedAuthority = "a file with the certificates of the authorities that sign those of clients, in PEM"

// authority is the file of server.tls.client_ca. The zero value is none.
type authority struct {
	file  string
	used  *x509.CertPool    // nil: clients show no certificate
	seen  [sha256.Size]byte // of the file as it was last; zero: it could not be read
	fault error             // of that; nil: it is what is used
	told  bool              // the fault is logged
}

// look reads the file, and reports whether it has changed since the last time. used changes only if
// it has, and is without fault.
func (a *authority) look() (changed bool) {
	if a.file == "" {
		return false
	}
	text, fault := readFile(a.file)
	var sum [sha256.Size]byte
	if fault == nil {
		sum = sha256.Sum256(text)
	}
	if sum == a.seen && (a.used != nil || a.fault != nil) && (fault == nil || a.fault != nil && a.fault.Error() == fault.Error()) {
		return false
	}
	a.seen, a.fault, a.told = sum, fault, false
	if fault != nil {
		return true
	}
	pool, fault := parseAuthorities(text)
	if a.fault = fault; fault == nil {
		a.used = pool
	}
	return true
}

// readAuthorities returns what is wrong with the file, or nil.
func readAuthorities(file string) error {
	text, err := readFile(file)
	if err != nil {
		return err
	}
	_, err = parseAuthorities(text)
	return err
}

// parseAuthorities returns the certificates in PEM, of which there must be one, and each valid. Text
// around them is ignored.
func parseAuthorities(text []byte) (*x509.CertPool, error) {
	pool, n := x509.NewCertPool(), 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, errors.New("this holds a " + block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		pool.AddCert(c)
		n++
	}
	if n == 0 {
		return nil, errors.New("this holds no certificate")
	}
	return pool, nil
}
