package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// command is one thing that the binary does.
type command struct {
	name  string // "" for the command without a name, which starts the load balancer
	about string // what it does, for the list of commands
	args  string // what stands behind its flags, for its help; "" if nothing may

	// flags defines the command's flags, and returns what runs once they are parsed.
	flags func(*flag.FlagSet) action
}

// action runs a command with the arguments behind its flags.
type action func(ctx context.Context, args []string, stdout io.Writer) error

// commands returns all commands, in the order in which help lists them.
func commands() []command {
	return []command{
		{"", "start the load balancer", "", startCommand},
		{"check", "check the config file, report every fault, and exit", "", checkCommand},
		{"explain", "say what would become of a request, and why", "METHOD URL", explainCommand},
		{"healthcheck", "ask a running load balancer whether it is ready", "", healthcheckCommand},
		{"top", "show in the terminal how a running load balancer stands", "", topCommand},
		{"version", "print the version", "", versionCommand},
		{"help", "list the commands, or explain one", "[COMMAND]", helpCommand},
	}
}

// findCommand returns the command of that name.
func findCommand(name string) (command, bool) {
	for _, c := range commands() {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}

// unknownCommand returns the error for a name that no command has.
func unknownCommand(name string) error {
	var names []string
	for _, c := range commands()[1:] {
		names = append(names, c.name)
	}
	return usageError{fmt.Errorf("lb: unknown command %q: use %s, or flags alone to start; see lb --help", name, inList(names))}
}

// inList returns "a, b or c".
func inList(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// call is the command as it is typed.
func (c command) call() string { return strings.TrimSpace("lb " + c.name) }

// run parses the flags and runs the command. --help prints its help to stdout instead.
func (c command) run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet(c.call(), flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	act := c.flags(flags)
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		c.help(stdout)
		return nil
	case err != nil:
		return usageError{fmt.Errorf("%s: %w; use %s; see %s --help", c.call(), err, inList(append(flagNames(flags), "--help")), c.call())}
	case flags.NArg() > 0 && c.args == "":
		return c.unexpected(flags.Arg(0))
	}
	return act(ctx, flags.Args(), stdout)
}

// unexpected returns the error for an argument that the command does not take.
func (c command) unexpected(argument string) error {
	hint := ""
	if _, known := findCommand(argument); known {
		hint = fmt.Sprintf(": flags stand behind the name of a command, as in lb %s --help", argument)
	}
	return usageError{fmt.Errorf("%s: unexpected argument %q%s; see %s --help", c.call(), argument, hint, c.call())}
}

// flagNames returns the flags as they are typed, in alphabetical order.
func flagNames(flags *flag.FlagSet) (names []string) {
	flags.VisitAll(func(f *flag.Flag) { names = append(names, "--"+f.Name) })
	return names
}
