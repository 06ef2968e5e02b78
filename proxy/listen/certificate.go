package listen

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// maxCertificate bounds the file of a certificate and that of its key, in bytes.
const maxCertificate = 1 << 20

// pairFault is what is wrong with the files of a certificate.
type pairFault struct {
	key   string // of the config: certificate or key
	file  string
	cause error
}

// allowed says what to use instead.
func (f *pairFault) allowed() string {
	if f.key == "key" {
		return allowedKey
	}
	return allowedCertificate
}

func (f *pairFault) Error() string { return fmt.Sprintf("%s: %s", f.file, f.cause) }

// pairText is what the two files of a certificate hold.
type pairText struct{ certificate, key []byte }

// sum identifies the text.
func (t pairText) sum() [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintln(h, len(t.certificate))
	h.Write(t.certificate)
	h.Write(t.key)
	return [sha256.Size]byte(h.Sum(nil))
}

// readPair returns the certificate in the files, or what is wrong with them.
func readPair(c CertificateConfig) (*tls.Certificate, *pairFault) {
	text, fault := readText(c)
	if fault != nil {
		return nil, fault
	}
	return text.parse(c)
}

// faults returns all that is wrong with the files: a certificate that cannot be used does not hide
// that the key is missing.
func (c CertificateConfig) faults() (all []*pairFault) {
	if _, fault := readPair(c); fault != nil {
		all = append(all, fault)
		if _, err := readFile(c.Key); err != nil && fault.key != "key" {
			all = append(all, &pairFault{"key", c.Key, err})
		}
	}
	return all
}

// readText reads the files.
func readText(c CertificateConfig) (t pairText, fault *pairFault) {
	var err error
	if t.certificate, err = readFile(c.Certificate); err != nil {
		return t, &pairFault{"certificate", c.Certificate, err}
	}
	if t.key, err = readFile(c.Key); err != nil {
		return t, &pairFault{"key", c.Key, err}
	}
	return t, nil
}

// readFile reads a file, unless that could wait for a writer that never comes.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, cause(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("this is no regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCertificate+1))
	if err == nil && len(text) > maxCertificate {
		return nil, errors.New("this is larger than 1 MiB")
	}
	return text, err
}

// cause returns the error without the path, which is told beside.
func cause(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// parse returns the certificate, with its leaf parsed.
func (t pairText) parse(c CertificateConfig) (*tls.Certificate, *pairFault) {
	pair, err := tls.X509KeyPair(t.certificate, t.key)
	if err == nil {
		return &pair, nil
	}
	fault := &pairFault{"certificate", c.Certificate, errors.New(strings.TrimPrefix(err.Error(), "tls: "))}
	if strings.Contains(err.Error(), "private key") || strings.Contains(err.Error(), "key input") {
		fault.key, fault.file = "key", c.Key
	}
	return nil, fault
}

// namesOf returns the names that a certificate is for, in lower case: those of its subjectAltName
// or, if there are none, its common name.
func namesOf(leaf *x509.Certificate) (names []string) {
	for _, name := range leaf.DNSNames {
		names = append(names, strings.ToLower(name))
	}
	for _, address := range leaf.IPAddresses {
		names = append(names, address.String())
	}
	if len(names) == 0 && leaf.Subject.CommonName != "" {
		names = append(names, strings.ToLower(leaf.Subject.CommonName))
	}
	return names
}

// soon returns how long before its end a certificate is warned of: 14 days, or a quarter of its life.
func soon(leaf *x509.Certificate) time.Duration {
	return min(14*24*time.Hour, leaf.NotAfter.Sub(leaf.NotBefore)/4)
}
