package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// helpCommand prints the list of commands, or the help of one.
func helpCommand(*flag.FlagSet) action {
	return func(_ context.Context, args []string, stdout io.Writer) error {
		name := ""
		if len(args) > 0 {
			name = args[0]
		}
		c, known := findCommand(name)
		switch {
		case !known:
			return unknownCommand(name)
		case len(args) > 1:
			return c.unexpected(args[1])
		}
		c.help(stdout)
		return nil
	}
}

// help prints how the command is called. That of the command without a name lists all others, too.
func (c command) help(w io.Writer) {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	c.flags(flags)
	if c.name == "" {
		fmt.Fprintln(w, "lb: an HTTP load balancer with a rate limit for each client")
		fmt.Fprintln(w)
		listCommands(w)
	} else {
		fmt.Fprintf(w, "%s: %s\n\n%s\n", c.call(), c.about, c.synopsis())
	}
	if len(flagNames(flags)) > 0 {
		fmt.Fprintln(w)
		listFlags(w, flags)
	}
}

// synopsis is the command with its flags, each with an example or its default.
func (c command) synopsis() string {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	c.flags(flags)
	words := []string{c.call()}
	flags.VisitAll(func(f *flag.Flag) { words = append(words, "["+spelling(f)+"]") })
	if c.args != "" {
		words = append(words, c.args)
	}
	return strings.Join(words, " ")
}

// spelling is a flag as it is typed: --demo, or --path=FILE.
func spelling(f *flag.Flag) string {
	value, _ := flag.UnquoteUsage(f)
	if value == "" { // of a bool
		return "--" + f.Name
	}
	return "--" + f.Name + "=" + strings.ToUpper(value)
}

func listCommands(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(table, "%s\t%s\n", c.synopsis(), c.about)
	}
	_ = table.Flush() // a reader that has gone needs no help
}

func listFlags(w io.Writer, flags *flag.FlagSet) {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	flags.VisitAll(func(f *flag.Flag) {
		_, about := flag.UnquoteUsage(f)
		if f.DefValue != "false" && f.DefValue != "" {
			about += "; " + f.DefValue + " by default"
		}
		fmt.Fprintf(table, "%s\t%s\n", spelling(f), about)
	})
	_ = table.Flush()
}
