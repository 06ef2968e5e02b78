package metrics

import (
	"bytes"
	"io"
	"strings"

	"github.com/VictoriaMetrics/metrics"
)

// WriteRuntime writes the metrics of the Go runtime and of the process in the Prometheus text
// format. The package that gathers them leaves every HELP empty and calls some counters gauges.
// Both are corrected here, since collectors drop metrics without a type.
func WriteRuntime(w io.Writer) {
	metrics.ExposeMetadata(true)
	var text bytes.Buffer
	metrics.WriteProcessMetrics(&text)
	for line := range bytes.Lines(text.Bytes()) {
		word := strings.Fields(string(line))
		switch {
		case len(word) >= 3 && word[0] == "#" && word[1] == "HELP": // written with the type
		case len(word) >= 4 && word[0] == "#" && word[1] == "TYPE":
			name, kind := word[2], word[3]
			if kind == "gauge" && strings.HasSuffix(name, "_total") {
				kind = "counter"
			}
			Family(w, name, kind, runtimeHelp(name))
		default:
			_, _ = w.Write(line) // w is a buffer: it does not fail
		}
	}
}

// runtimeHelp describes a metric of the Go runtime or of the process. A name that a later version
// of the package adds gets a generic description.
func runtimeHelp(name string) string {
	switch {
	case runtimeHelps[name] != "":
		return runtimeHelps[name]
	case strings.HasPrefix(name, "process_"):
		return otherProcessHelp
	}
	return otherRuntimeHelp
}

const (
	otherProcessHelp = "A figure of the process, as the operating system reports it."
	otherRuntimeHelp = "A figure of the Go runtime."
)

var runtimeHelps = map[string]string{
	"go_cgo_calls_count":                  "Calls from Go to C.",
	"go_cpu_count":                        "Logical CPUs that the process can use.",
	"go_gc_cpu_seconds_total":             "Estimated CPU time spent on garbage collection.",
	"go_gc_duration_seconds":              "Pauses of the latest 256 garbage collections.",
	"go_gc_forced_count":                  "Garbage collections that the program asked for.",
	"go_gc_mark_assist_cpu_seconds_total": "Estimated CPU time that goroutines spent helping the garbage collector.",
	"go_gc_pauses_seconds":                "Stop-the-world pauses of the garbage collector.",
	"go_gomaxprocs":                       "Threads that may run Go code at once.",
	"go_goroutines":                       "Goroutines that exist.",
	"go_info":                             "Version of Go that the program was built with.",
	"go_info_ext":                         "Compiler and platform that the program was built with.",
	"go_memlimit_bytes":                   "Soft limit of memory, GOMEMLIMIT.",
	"go_memstats_alloc_bytes":             "Bytes of allocated heap objects.",
	"go_memstats_alloc_bytes_total":       "Bytes allocated for heap objects since the start.",
	"go_memstats_buck_hash_sys_bytes":     "Memory of the profiling tables.",
	"go_memstats_frees_total":             "Heap objects freed.",
	"go_memstats_gc_cpu_fraction":         "Fraction of the available CPU time since the start that garbage collection used.",
	"go_memstats_gc_sys_bytes":            "Memory of the garbage collector's metadata.",
	"go_memstats_heap_alloc_bytes":        "Bytes of allocated heap objects, as go_memstats_alloc_bytes.",
	"go_memstats_heap_idle_bytes":         "Bytes in heap spans that hold no object.",
	"go_memstats_heap_inuse_bytes":        "Bytes in heap spans that hold an object.",
	"go_memstats_heap_objects":            "Allocated heap objects.",
	"go_memstats_heap_released_bytes":     "Heap memory returned to the operating system.",
	"go_memstats_heap_sys_bytes":          "Heap memory obtained from the operating system.",
	"go_memstats_last_gc_time_seconds":    "Unix time at which the last garbage collection ended.",
	"go_memstats_lookups_total":           "Pointer lookups of the runtime; always 0.",
	"go_memstats_mallocs_total":           "Heap objects allocated.",
	"go_memstats_mcache_inuse_bytes":      "Memory of mcache structures in use.",
	"go_memstats_mcache_sys_bytes":        "Memory obtained for mcache structures.",
	"go_memstats_mspan_inuse_bytes":       "Memory of mspan structures in use.",
	"go_memstats_mspan_sys_bytes":         "Memory obtained for mspan structures.",
	"go_memstats_next_gc_bytes":           "Heap size at which the next garbage collection begins.",
	"go_memstats_other_sys_bytes":         "Memory of other runtime structures.",
	"go_memstats_stack_inuse_bytes":       "Bytes in stack spans in use.",
	"go_memstats_stack_sys_bytes":         "Stack memory obtained from the operating system.",
	"go_memstats_sys_bytes":               "Memory obtained from the operating system in all.",
	"go_mutex_wait_seconds_total":         "Time that goroutines spent waiting for mutexes.",
	"go_sched_latencies_seconds":          "Time that goroutines were ready to run before they ran.",
	"go_scavenge_cpu_seconds_total":       "Estimated CPU time spent on returning memory to the operating system.",
	"go_threads":                          "Threads that the runtime has made.",

	"process_cpu_seconds_system_total":              "CPU time spent in the kernel.",
	"process_cpu_seconds_total":                     "CPU time spent.",
	"process_cpu_seconds_user_total":                "CPU time spent in user code.",
	"process_io_read_bytes_total":                   "Bytes read by system calls, from files and sockets.",
	"process_io_read_syscalls_total":                "System calls that read.",
	"process_io_storage_read_bytes_total":           "Bytes fetched from storage.",
	"process_io_storage_written_bytes_total":        "Bytes sent to storage.",
	"process_io_write_syscalls_total":               "System calls that write.",
	"process_io_written_bytes_total":                "Bytes written by system calls, to files and sockets.",
	"process_major_pagefaults_total":                "Page faults that had to read from storage.",
	"process_minor_pagefaults_total":                "Page faults that needed no storage.",
	"process_num_threads":                           "Threads of the process.",
	"process_pressure_cpu_stalled_seconds_total":    "Time in which every task of the cgroup waited for a CPU.",
	"process_pressure_cpu_waiting_seconds_total":    "Time in which a task of the cgroup waited for a CPU.",
	"process_pressure_io_stalled_seconds_total":     "Time in which every task of the cgroup waited for storage.",
	"process_pressure_io_waiting_seconds_total":     "Time in which a task of the cgroup waited for storage.",
	"process_pressure_memory_stalled_seconds_total": "Time in which every task of the cgroup waited for memory.",
	"process_pressure_memory_waiting_seconds_total": "Time in which a task of the cgroup waited for memory.",
	"process_resident_memory_anon_bytes":            "Resident memory that no file backs.",
	"process_resident_memory_bytes":                 "Resident memory.",
	"process_resident_memory_file_bytes":            "Resident memory that files back.",
	"process_resident_memory_peak_bytes":            "Largest resident memory so far.",
	"process_resident_memory_shared_bytes":          "Resident shared memory.",
	"process_start_time_seconds":                    "Unix time at which the process started.",
	"process_virtual_memory_bytes":                  "Virtual memory.",
	"process_virtual_memory_peak_bytes":             "Largest virtual memory so far.",
}
