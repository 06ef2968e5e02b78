package top

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/term"
)

// Options are where the load balancer is and what the terminal is.
type Options struct {
	Management string              // http://host:port, https://host:port or unix:/path
	Token      string              // for the management API; "": none is sent
	Env        func(string) string // looks up an environment variable, as os.Getenv
}

// Invalid is an error in the options.
type Invalid struct{ error }

// Run shows how the load balancer stands until the user quits or ctx ends, and then leaves the
// terminal as it was. It returns an error, a sentence, if there is no answer at the beginning, or if
// out is not a terminal that it can draw on. Keys are read from stdin if that is a terminal, and else
// from that of the process.
func Run(ctx context.Context, o Options, out io.Writer) error {
	c, err := newClient(o.Management, o.Token)
	if err != nil {
		return Invalid{err}
	}
	if err := drawable(o, out); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m, err := begin(ctx, c)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer m.first.close()
	m.ascii = !isUTF8(o.Env)
	program := tea.NewProgram(m, programOptions(ctx, o, out)...)
	if _, err = program.Run(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// begin opens the stream and takes in its first message, so that faults show before the terminal is
// changed.
func begin(ctx context.Context, c *client) (model, error) {
	s, err := c.follow(ctx)
	if f := (*failure)(nil); errors.As(err, &f) && f.advice != "" {
		return model{}, fmt.Errorf("%w; %s", err, f.advice)
	}
	if err != nil {
		return model{}, err
	}
	d, err := s.next()
	if err != nil {
		s.close()
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%s has ended the stream of its status without a message, as when it stops; try again", c.shown)
		}
		return model{}, err
	}
	m := model{screen: &screen{shown: c.shown}, rates: &rates{}, client: c, ctx: ctx, first: s}
	m.hear(d, time.Now())
	return m, nil
}

// drawable says why a writer is not a terminal that can be drawn on.
func drawable(o Options, out io.Writer) error {
	const instead = "; GET /v1/api/status of the management API tells the same in JSON"
	f, ok := out.(term.File)
	switch {
	case !ok || !term.IsTerminal(f.Fd()):
		return errors.New("stdout is not a terminal" + instead)
	case !hasKeys():
		return errors.New("no terminal to read keys from: stdin is none, and the process has no other" + instead)
	case o.Env("TERM") == "" || o.Env("TERM") == "dumb":
		return fmt.Errorf("the terminal is dumb (TERM=%s): it cannot be drawn on; set TERM to what it is, such as xterm%s", o.Env("TERM"), instead)
	}
	return nil
}

// hasKeys reports whether there is a terminal to read keys from: stdin, or that of the process.
func hasKeys() bool {
	if term.IsTerminal(os.Stdin.Fd()) {
		return true
	}
	in, out, err := tea.OpenTTY()
	if err != nil {
		return false
	}
	_ = in.Close()
	_ = out.Close()
	return true
}

func programOptions(ctx context.Context, o Options, out io.Writer) []tea.ProgramOption {
	// The signals are those of ctx.
	all := []tea.ProgramOption{tea.WithContext(ctx), tea.WithOutput(out), tea.WithoutSignalHandler(), tea.WithFPS(10)}
	if o.Env("NO_COLOR") != "" {
		all = append(all, tea.WithColorProfile(colorprofile.ASCII)) // bold and reversed remain
	}
	return all
}

// isUTF8 reports whether the locale shows more than ASCII. Without a locale it is believed to.
func isUTF8(env func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToLower(env(name)); value != "" {
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return true
}
