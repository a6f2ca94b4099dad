package service

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/windows/svc"

	"github.com/fettlehq/fettle/internal/fault"
)

// Name is the service's, Source that of its entries in the event log.
const (
	Name   = "FettleAgent"
	Source = "Fettle Agent"
)

// Program is what runs as the service.
type Program struct {
	// Main works until ctx ends. An error means that it can't work: the
	// service counts as failed and is started again.
	Main func(ctx context.Context) error
	// Busy reports that the machine is being changed. The machine's shutdown
	// is held up while it is true, at most for PreShutdown.
	Busy func() bool
}

// Run hands the process over to the service control manager, which must have
// started it, and returns when the service has stopped. It never asks whether
// it is a service: whoever calls it says so.
func Run(p Program) error {
	h := &handler{program: p}
	if err := svc.Run(Name, h); err != nil {
		return fault.Wrap(err, fault.Unavailable, "service: the service control manager did not take the agent over").
			WithHint("'fettle-agent run' works in the foreground; --service is for the service control manager alone")
	}
	return h.err
}

type handler struct {
	program Program
	err     error
}

// The time that the control manager is told to wait before it asks again, and
// how long the agent may take to end.
const (
	stopHint  = 15 * time.Second
	stopGrace = 30 * time.Second
	busyPoll  = 500 * time.Millisecond
)

// failed is the service-specific exit code of a Main that ended by itself.
const failed = 1

// Execute implements svc.Handler.
func (h *handler) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (specific bool, code uint32) {
	status <- svc.Status{State: svc.StartPending, WaitHint: uint32(stopHint / time.Millisecond)}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- h.program.Main(ctx) }()
	running := svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown | svc.AcceptPreShutdown}
	status <- running
	for {
		select {
		case h.err = <-done:
			status <- svc.Status{State: svc.StopPending}
			if h.err == nil {
				return false, 0
			}
			return true, failed
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				status <- r.CurrentStatus
			case svc.PreShutdown:
				h.finishWork(status)
				h.stop(cancel, done, status)
				return false, 0
			case svc.Stop, svc.Shutdown:
				h.stop(cancel, done, status)
				return false, 0
			}
		}
	}
}

// finishWork lets an installation come to its end before the machine goes
// down, as far as the control manager waits.
func (h *handler) finishWork(status chan<- svc.Status) {
	tick := time.NewTicker(busyPoll)
	defer tick.Stop()
	end := time.Now().Add(PreShutdown)
	for point := uint32(1); h.program.Busy() && time.Now().Before(end); point++ {
		status <- svc.Status{State: svc.StopPending, CheckPoint: point, WaitHint: uint32(stopHint / time.Millisecond)}
		<-tick.C
	}
}

// stop ends Main and waits for it.
func (h *handler) stop(cancel context.CancelFunc, done <-chan error, status chan<- svc.Status) {
	status <- svc.Status{State: svc.StopPending, WaitHint: uint32(stopGrace / time.Millisecond)}
	cancel()
	select {
	case err := <-done:
		if err != nil && !errors.Is(err, context.Canceled) {
			h.err = err
		}
	case <-time.After(stopGrace):
		h.err = fault.New(fault.Unavailable, "service: the agent did not end within %s of being asked", stopGrace)
	}
}
