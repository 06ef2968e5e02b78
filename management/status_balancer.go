package management

import (
	"maps"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"time"
)

// BalancerStatus is how the process stands.
type BalancerStatus struct {
	Version      string              `json:"version"`
	Started      time.Time           `json:"started"`
	Ready        bool                `json:"ready"`
	NotReady     string              `json:"not_ready,omitempty"` // why it is not
	Config       string              `json:"config"`              // path of the file
	Reload       *ReloadStatus       `json:"last_reload"`         // nil: none so far
	Certificates []CertificateStatus `json:"certificates"`
	Warnings     []string            `json:"warnings"` // of certificates and of the store
	Store        *StoreStatus        `json:"store"`    // nil: there is none
	Share        *ShareStatus        `json:"share"`    // nil: limits are this instance's alone
	LogDropped   uint64              `json:"log_dropped"`
	Descriptors  *Descriptors        `json:"descriptors"` // nil: the system does not tell
	Memory       Memory              `json:"memory"`
}

// ReloadStatus is what became of the last reload of the config.
type ReloadStatus struct {
	OK      bool      `json:"ok"`
	At      time.Time `json:"at"`
	Total   uint64    `json:"total"` // reloads so far
	Cause   string    `json:"cause"` // what asked for it
	Changed []string  `json:"changed"`
	Faults  []string  `json:"faults"`
	More    int       `json:"more,omitempty"` // lines of changed and faults beyond maxReloadLines
}

// maxReloadLines bounds the changes, and the faults, that a status has of a reload.
const maxReloadLines = 100

type CertificateStatus struct {
	Name    string    `json:"name"`
	Expires time.Time `json:"expires"`
}

type StoreStatus struct {
	Up      bool `json:"up"`
	Clients int  `json:"clients"`
}

type ShareStatus struct {
	Up        bool  `json:"up"`
	Instances int64 `json:"instances"`
}

// Descriptors are the file descriptors of the process.
type Descriptors struct {
	Open  uint64 `json:"open"`
	Limit uint64 `json:"limit"`
}

// Memory is in bytes.
type Memory struct {
	Resident *uint64 `json:"resident"` // nil: the system does not tell
	Heap     uint64  `json:"heap"`     // objects, those that are garbage included
	Limit    *uint64 `json:"limit"`    // that the heap keeps within; nil: there is none
}

func (m *Server) balancerStatus() BalancerStatus {
	s := BalancerStatus{
		Version: m.Version, Started: m.watch.started.UTC(), Ready: true, Config: m.ConfigPath, Reload: m.Reload.Last().status(),
		Certificates: []CertificateStatus{}, LogDropped: m.LogDropped(), Descriptors: openDescriptors(), Memory: memoryInUse(),
	}
	if err := m.ready(); err != nil {
		s.Ready, s.NotReady = false, err.Error()
	}
	expiries := m.TLS.Expiries()
	for _, name := range slices.Sorted(maps.Keys(expiries)) {
		s.Certificates = append(s.Certificates, CertificateStatus{name, expiries[name].UTC()})
	}
	s.Warnings = append([]string{}, m.TLS.Faults()...) // in JSON a list, too
	s.Warnings = append(s.Warnings, lines(m.clientsWarning())...)
	if m.Clients != nil {
		s.Store = &StoreStatus{Up: m.Clients.Up(), Clients: m.Limits.Registered()}
	}
	if m.Share != nil {
		s.Share = &ShareStatus{Up: !m.Share.IsAway(), Instances: m.Share.Instances()}
	}
	return s
}

// status returns what a status has of a reload, or nil before the first.
func (l LastReload) status() *ReloadStatus {
	if l.Total == 0 {
		return nil
	}
	s := &ReloadStatus{OK: l.OK, At: l.At.UTC(), Total: l.Total, Cause: l.Cause}
	bounded := func(all []string) []string {
		n := min(len(all), maxReloadLines)
		s.More += len(all) - n
		return append([]string{}, all[:n]...) // in JSON a list, too
	}
	s.Changed, s.Faults = bounded(l.Changed), bounded(l.Faults)
	return s
}

// memoryInUse returns the memory of the process.
func memoryInUse() Memory {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	m := Memory{Resident: residentMemory(), Heap: sample[0].Value.Uint64()}
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 { // only asks
		bytes := uint64(limit)
		m.Limit = &bytes
	}
	return m
}
