package upstream

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// credentials are the tls section of a pool with what its files hold. Files that have changed are
// read again; while one cannot be used, what the files held before stays in use. It is safe for
// concurrent use.
type credentials struct {
	config TLSConfig
	log    zerolog.Logger

	mu    sync.Mutex
	files []tlsFile   // guarded by mu, as the fields below
	good  *tls.Config // of the last good files, without what a backend adds; nil: there were none
	err   error       // why the files of now are not used, or nil
}

// newCredentials returns credentials that have read nothing yet.
func newCredentials(c TLSConfig) *credentials {
	return &credentials{config: c, log: zerolog.Nop(), files: c.files()}
}

// current looks at the files and returns what a handshake goes by. The config that it returns must
// not be changed; it is the same one until a file changes.
func (c *credentials) current() (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := c.good == nil
	for i := range c.files {
		changed = c.files[i].changed() || changed
	}
	if changed {
		c.renew()
	}
	if c.good == nil {
		return nil, c.err
	}
	return c.good, nil
}

// renew takes up the files of now if they are good, and logs what became of them. It is called while
// mu is held.
func (c *credentials) renew() {
	before := make([][]byte, len(c.files))
	for i, f := range c.files {
		before[i] = f.text
	}
	was, first := c.err, c.good == nil
	read := c.read()
	c.err = read.err()
	switch {
	case c.err != nil && (was == nil || was.Error() != c.err.Error()):
		c.log.Warn().Err(c.err).Msg("a file for TLS with backends cannot be used: those of before count until it has changed")
	case c.err != nil || !first && was == nil && c.holds(before): // nothing is new
	default:
		c.good = read.config
		if !first {
			c.log.Info().Msg("the files for TLS with backends have changed: new connections use them")
		}
	}
}

// holds reports whether the files hold these texts.
func (c *credentials) holds(texts [][]byte) bool {
	for i := range c.files {
		if !bytes.Equal(c.files[i].text, texts[i]) {
			return false
		}
	}
	return true
}

// readFiles is what the files hold.
type readFiles struct {
	config *tls.Config // valid if there are no faults
	faults []fileFault
}

// err returns the faults as one error, or nil.
func (r *readFiles) err() error {
	all := make([]error, len(r.faults))
	for i, f := range r.faults {
		all[i] = f
	}
	return errors.Join(all...)
}

// read reads the files.
func (c *credentials) read() (r readFiles) {
	r.config = &tls.Config{InsecureSkipVerify: c.config.InsecureSkipVerify, DynamicRecordSizingDisabled: true}
	byKey := map[string]*tlsFile{}
	for i := range c.files {
		f := &c.files[i]
		if err := f.read(); err != nil {
			r.faults = append(r.faults, fileFault{f, err})
			continue
		}
		byKey[f.key] = f
	}
	if f := byKey["ca"]; f != nil {
		r.config.RootCAs = x509.NewCertPool()
		all, err := parseCertificates(f.text)
		if err != nil {
			r.faults = append(r.faults, fileFault{f, err})
		}
		for _, authority := range all {
			r.config.RootCAs.AddCert(authority)
		}
	}
	if certificate, key := byKey["certificate"], byKey["key"]; certificate != nil && key != nil {
		pair, fault := parsePair(certificate, key)
		if fault != nil {
			r.faults = append(r.faults, *fault)
		} else {
			// Not Certificates, of which only one is sent whose authority the backend names.
			r.config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
		}
	}
	return r
}

// tlsFile is a file of the tls section, as it was read last.
type tlsFile struct {
	key, path string
	text      []byte
	info      os.FileInfo // nil: it could not be read
	at        time.Time   // when it was read
}

// maxTLSFile bounds a file, in bytes. The authorities of a system are a quarter of that.
const maxTLSFile = 1 << 20

// settled is the age from which the time of a file's last change tells of the next one: a file system
// may give two changes the same time.
const settled = 2 * time.Second

// changed reports whether the file may hold something else than when it was read.
func (f *tlsFile) changed() bool {
	now, err := os.Stat(f.path)
	switch {
	case err != nil:
		return f.info != nil
	case f.info == nil:
		return true
	}
	return !os.SameFile(now, f.info) || now.Size() != f.info.Size() || !now.ModTime().Equal(f.info.ModTime()) ||
		f.at.Sub(now.ModTime()) < settled
}

// read reads the file. Its error does not name the file.
func (f *tlsFile) read() (err error) {
	f.info, f.text, f.at = nil, nil, time.Now()
	info, err := os.Stat(f.path)
	switch {
	case err != nil:
		return withoutPath(err)
	case !info.Mode().IsRegular():
		return errors.New("it is no regular file")
	case info.Size() > maxTLSFile:
		return errors.New("it is larger than 1 MiB")
	}
	if f.text, err = os.ReadFile(f.path); err != nil {
		return withoutPath(err)
	}
	f.info = info
	return nil
}

// withoutPath returns what an error of the system says.
func withoutPath(err error) error {
	if at, ok := errors.AsType[*os.PathError](err); ok {
		return at.Err
	}
	return err
}
