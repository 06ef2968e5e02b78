package main

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"loadbalancer/bench/load"
	"loadbalancer/bench/report"
)

// pictureSuffix is how the names end that flags for pictures take.
var pictureSuffix = map[string]string{"chart": ".png", "report": ".html"}

// picture is a file that shows the run. Without a name it is not asked for.
type picture struct {
	flag, name string
	write      func(w io.Writer, command string, r *load.Result) error
}

// pictures returns the files that were asked for.
func (f *loadFlags) pictures() []picture {
	var asked []picture
	for _, p := range []picture{
		{"chart", f.chart, report.Chart},
		{"report", f.report, report.Page},
	} {
		if p.name != "" {
			asked = append(asked, p)
		}
	}
	return asked
}

// validate checks the name before the run, whose result a bad one would lose. It leaves no file.
func (p picture) validate() error {
	info, err := os.Stat(p.name)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		var probe *os.File
		if probe, err = createBeside(p.name); err == nil {
			err = errors.Join(probe.Close(), os.Remove(probe.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("--%s=%s: %w; it must be a file that can be written", p.flag, p.name, err)
	}
	return nil
}

// save writes the picture whole or not at all: a file of that name stays until the new one replaces
// it.
func (p picture) save(command string, r *load.Result) (err error) {
	file, err := createBeside(p.name)
	if err != nil {
		return fmt.Errorf("--%s=%s: %w", p.flag, p.name, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("--%s=%s: %w", p.flag, p.name, err)
			_ = os.Remove(file.Name())
		}
	}()
	buffered := bufio.NewWriter(file)
	err = p.write(buffered, command, r)
	if err = errors.Join(err, buffered.Flush(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), p.name)
}

// createBeside creates a file with a name of its own in the same folder, with the mode that the
// umask allows, which os.CreateTemp does not.
func createBeside(name string) (*os.File, error) {
	return os.OpenFile(name+"."+rand.Text()+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
}
