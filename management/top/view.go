package top

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// The smallest terminal that anything is shown in, and the lowest that has all of the traffic.
const (
	minWidth   = 40
	minHeight  = 10
	allTraffic = 16
)

// isEnough reports whether something is shown at a size in columns and lines.
func isEnough(width, height int) bool { return width >= minWidth && height >= minHeight }

// view is the screen at a size in columns and lines. It has a line for each of the terminal's.
func (s *screen) view(width, height int) string {
	if !isEnough(width, height) {
		return cut(fmt.Sprintf("lb top needs %d × %d, not %d × %d", minWidth, minHeight, width, height), width)
	}
	if s.entry.help {
		return strings.Join(fit(helpLines, width, height), "\n")
	}
	lines := append([]string{s.head(width)}, s.state(width)...)
	traffic := s.traffic(width)
	if height < allTraffic {
		traffic = traffic[:1]
	}
	lines = append(lines, traffic...)
	above, last := len(lines), s.lastLines(width)
	lines = append(lines, s.listLines(width, height-above-len(last))...)
	lines = fit(lines, width, height-len(last))
	if s.news.isStale() {
		for i := above; i < len(lines); i++ {
			lines[i] = faint.on(ansi.Strip(lines[i]))
		}
	}
	return strings.Join(append(lines, last...), "\n")
}

// listLines are so many lines of the two lists, or of the one that has the focus if there is no room
// for both.
func (s *screen) listLines(width, height int) []string {
	const titles, detail = 2, 1 // lines of each list, and of the chosen backend
	limited := s.limited()
	rows := height - 2*titles - detail // of both
	if rows < 6 {
		if s.focus == clients {
			return s.clientLines(limited, width, height-titles)
		}
		return s.backendLines(width, height-titles-detail)
	}
	forClients := min(max(1, len(limited)), max(2, rows/3))
	if s.focus == clients {
		forClients = min(max(1, len(limited)), rows/2)
	}
	return append(s.backendLines(width, rows-forClients), s.clientLines(limited, width, forClients)...)
}

// fit returns lines of at most that width, and just that many.
func fit(lines []string, width, height int) []string {
	all := make([]string, height)
	for i := range min(height, len(lines)) {
		all[i] = cut(lines[i], width)
	}
	return all
}

// head says which load balancer it is.
func (s *screen) head(width int) string {
	b := &s.news.doc.Balancer
	first := fmt.Sprintf("lb %s · up %s", clean(b.Version), age(s.news.doc.Time.Sub(b.Started)))
	last := fmt.Sprintf("%s  %s", clean(s.shown), s.news.now.Format("15:04:05"))
	return bold.on(ends(first, last, width))
}

// state says how well the load balancer is, or that nothing is heard of it, on a line or two.
func (s *screen) state(width int) []string {
	b := &s.news.doc.Balancer
	switch {
	case s.news.isStale():
		text := fmt.Sprintf("Old: nothing since %s (%s)", s.news.heard.Format("15:04:05"), age(s.news.now.Sub(s.news.heard)))
		if s.news.trouble != "" {
			text += ": " + clean(s.news.trouble)
		}
		if text += "; trying again"; s.news.pause > retryPause {
			text += " every " + age(s.news.pause)
		}
		return marked.over(text, width)
	case !b.Ready:
		return bad.over("Not ready: "+clean(b.NotReady), width)
	case b.Reload != nil && !b.Reload.OK:
		return warn.over(fmt.Sprintf("Ready, but the reload %s ago failed", age(s.news.doc.Time.Sub(b.Reload.At))), width)
	case len(b.Warnings) > 0:
		return warn.over("Ready, but "+clean(strings.Join(b.Warnings, "; ")), width)
	}
	return good.over("Ready", width)
}

// recently is how many samples the figures of the traffic are of.
const recently = 3

// traffic is what is under way, and what happened in the last seconds.
func (s *screen) traffic(width int) []string {
	const label = 10
	class := 15
	if width < narrow {
		class = 12
	}
	all := s.news.samples
	last := all[max(0, len(all)-recently):]
	figure := func(pick func(*sample) int64) float64 { return mean(last, pick) }
	requests := left(bold.on("Requests"), label) + right(short(figure(func(s *sample) int64 { return s.requests }))+"/s", 8) + "  "
	n := min(max(0, width-label-10), 60, len(all))
	line := make([]int64, n)
	for i := range line {
		line[i] = all[len(all)-n+i].requests
	}
	statuses := left(bold.on("Statuses"), label)
	for _, name := range []string{"2xx", "3xx", "4xx", "5xx"} {
		x := figure(func(s *sample) int64 { return s.statuses[name] })
		text := fmt.Sprintf("%s %s/s", name, short(x))
		if name == "5xx" && x > 0 {
			text = bad.on(text)
		}
		statuses += left(text, class)
	}
	t := &s.news.doc.Traffic
	rejected := left(bold.on("Rejected"), label) + right(short(figure(func(s *sample) int64 { return s.rejected }))+"/s", 8)
	under := fmt.Sprintf("In flight %s · connections %s · tunnels %s", grouped(t.InFlight), grouped(t.Connections), grouped(t.Tunnels))
	return []string{
		requests + sparkline(line),
		statuses,
		ends(rejected, under, width),
		left(bold.on("Errors"), label) + errorsOf(last),
		left(bold.on("Latency"), label) + latencies(last),
	}
}

// mean returns how often something happened in a second, by so many samples.
func mean(samples []sample, pick func(*sample) int64) float64 {
	if len(samples) == 0 {
		return 0
	}
	sum := int64(0)
	for i := range samples {
		sum += pick(&samples[i])
	}
	return float64(sum) / float64(len(samples))
}

// errorsOf names the reasons of the errors, the most frequent first. Rejections have a line of
// their own.
func errorsOf(last []sample) string {
	rates := map[string]float64{}
	for i := range last {
		for name, n := range last[i].errors {
			if name != "limited" && name != "too_many_in_flight" && n > 0 {
				rates[name] += float64(n) / float64(len(last))
			}
		}
	}
	if len(rates) == 0 {
		return "none"
	}
	names := slices.SortedFunc(maps.Keys(rates), func(a, b string) int {
		return cmp.Or(cmp.Compare(rates[b], rates[a]), strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %s/s", clean(name), short(rates[name]))
	}
	return bad.on(strings.Join(names, ", "))
}

// latencies are the latest, of a second in which a request has ended.
func latencies(last []sample) string {
	for i := len(last) - 1; i >= 0; i-- {
		if s := &last[i]; s.p50 != nil {
			return left("p50 "+milliseconds(s.p50), 15) + left("p90 "+milliseconds(s.p90), 15) + "p99 " + milliseconds(s.p99)
		}
	}
	return "no request has ended"
}

// lastLines are what is being typed or asked, or what became of an action, or which keys there are.
func (s *screen) lastLines(width int) []string {
	e := &s.entry
	switch {
	case e.question != nil:
		q := e.question
		return marked.over(fmt.Sprintf("Drain %s? y/n  %s", clean(q.at.address), clean(q.why)), width)
	case e.isTyping:
		return marked.over("Show only what contains: "+clean(s.lists[s.focus].filter)+"_   Enter keeps it, Esc drops it", width)
	case e.said != "" && e.failed:
		return bad.over(e.said, width)
	case e.said != "":
		return bold.over(e.said, width)
	}
	return []string{cut("q quit  ? help  / filter  s sort  S reverse  Tab list  d drain  r resume", width)}
}

var helpLines = []string{
	"lb top: how the load balancer stands, each second. Any key goes back.",
	"",
	"↑ ↓ k j           choose a row; PgUp and PgDn by ten, Home and End the ends",
	"Tab               to the other list",
	"s                 sort by the next column",
	"S                 the other way round",
	"/                 show only the rows that contain a text; Esc shows all again",
	"d                 drain the backend; asks where no other takes requests",
	"r                 resume it",
	"q, Ctrl-C         quit",
	"Ctrl-Z            to the shell; fg comes back",
	"",
	"Rates are means of about 3 seconds. SHARE is the backend's part of the",
	"attempts in its pool in the last minute, DUE the part by its weight. Why a",
	"backend is out stands under it, at length if it is chosen. The line below the",
	"list is of the chosen one.",
	"Limited are the clients with most rejections in the last minute, with their own",
	"limit or the default one. A client in shadow mode was refused nothing.",
}
