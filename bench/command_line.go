package main

import "strings"

// commandLine returns the command as it would be typed, for pictures of the run, which are passed
// on: a value that gives access to a server is left out.
func commandLine(args []string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		name, line, joined := strings.Cut(arg, "=")
		switch {
		case joined && isHeaderFlag(name):
			arg = name + "=" + withoutSecret(line)
		case i > 0 && isHeaderFlag(args[i-1]):
			arg = withoutSecret(arg)
		}
		if strings.ContainsAny(arg, " \t'\"&;|$*?") {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		quoted[i] = arg
	}
	return "bench " + strings.Join(quoted, " ")
}

func isHeaderFlag(arg string) bool { return arg == "--header" || arg == "-header" }

// withoutSecret returns the header line without its value if its name tells of a secret.
func withoutSecret(line string) string {
	name, _, _ := strings.Cut(line, ":")
	for _, secret := range []string{"auth", "cookie", "key", "token", "secret", "password"} {
		if strings.Contains(strings.ToLower(name), secret) {
			return name + ": …"
		}
	}
	return line
}
