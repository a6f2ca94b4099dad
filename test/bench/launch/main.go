// Command launch runs one program and tells what it used.
//
// A process that is made from a large one starts with the large one's peak in
// ru_maxrss (Linux keeps it across exec), so measurements must start from
// something small. It writes two lines of JSON to file descriptor 3: the
// process id at once, and at the end what the kernel counted (getrusage(2)) for
// the program and the children that it waited for.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	report := os.NewFile(3, "report")
	if len(os.Args) < 2 || report == nil {
		os.Exit(2)
	}
	signal.Ignore(os.Interrupt) // the program decides when it ends
	start := time.Now()
	pid, err := syscall.ForkExec(os.Args[1], os.Args[1:], &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "launch: %s: %v\n", os.Args[1], err)
		os.Exit(2)
	}
	_, _ = fmt.Fprintf(report, "{\"pid\":%d}\n", pid)
	var status syscall.WaitStatus
	var used syscall.Rusage
	for {
		_, err = syscall.Wait4(pid, &status, 0, &used)
		if err != syscall.EINTR {
			break
		}
	}
	wall := time.Since(start)
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "launch: wait: %v\n", err)
		os.Exit(2)
	}
	_, _ = fmt.Fprintf(report, "{\"code\":%d,\"wall\":%d,\"cpu\":%d,\"peak\":%d}\n",
		status.ExitStatus(), wall.Nanoseconds(), used.Utime.Nano()+used.Stime.Nano(), used.Maxrss*1024)
}
