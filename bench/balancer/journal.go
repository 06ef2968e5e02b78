package balancer

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Journal takes what a process writes. It is safe for concurrent use.
type Journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write adds to it.
func (j *Journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// String returns all of it.
func (j *Journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// With returns the lines that contain each of the words, in whatever case. The path of the config
// file does not count: the test's name is in it.
func (j *Journal) With(words ...string) (lines []string) {
	for line := range strings.Lines(j.String()) {
		text := strings.ToLower(configPath.ReplaceAllString(line, ""))
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, strings.ToLower(word)) }) {
			lines = append(lines, line)
		}
	}
	return lines
}

var configPath = regexp.MustCompile(`/[^" ]*/lb\.yaml`)

// Require waits until a line contains the words: a log is written behind what it tells of. It fails
// the test after 5 s.
func (j *Journal) Require(t *testing.T, what string, words ...string) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); len(j.With(words...)) == 0; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("the log does not tell of %s, with the words %q:\n%s", what, words, Shortened(j.String()))
			return
		}
	}
}

// Shortened leaves the middle out of a text of more than 6,000 bytes.
func Shortened(text string) string {
	const most = 6000
	if len(text) <= most {
		return text
	}
	return text[:most/2] + "\n…\n" + text[len(text)-most/2:]
}
