package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/fettlehq/fettle/internal/publisher"
)

// tell shows the publisher's stages as they come: one bar on a terminal, one
// line a change elsewhere. done must be called at the end.
func tell(w io.Writer) (show publisher.Progress, done func()) {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return bar(f)
	}
	last := ""
	return func(e publisher.Event) {
		line := sentence(e)
		if _, percent := percentOf(e.Doing); percent && !strings.HasPrefix(e.Doing, "100 %") {
			return // a log needs no percentages
		}
		if line != last {
			fmt.Fprintln(w, "  "+line)
			last = line
		}
	}, func() {}
}

func sentence(e publisher.Event) string {
	if e.Source == "" {
		return e.Stage + ": " + e.Doing
	}
	return e.Stage + " " + e.Source + ": " + e.Doing
}

// percentOf reads "42 % ..." as apt gives it.
func percentOf(doing string) (int64, bool) {
	number, _, ok := strings.Cut(doing, " %")
	n, err := strconv.ParseInt(number, 10, 64)
	return n, ok && err == nil
}

// bar draws one line that tells what is done now; failures stay above it.
func bar(f *os.File) (publisher.Progress, func()) {
	text := ""
	p := mpb.New(mpb.WithOutput(f), mpb.WithWidth(24))
	b := p.AddBar(100,
		mpb.PrependDecorators(decor.Elapsed(decor.ET_STYLE_MMSS, decor.WCSyncSpace)),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return text })),
		mpb.BarRemoveOnComplete(),
	)
	return func(e publisher.Event) {
		text = sentence(e)
		if n, ok := percentOf(e.Doing); ok {
			b.SetCurrent(min(n, 99))
		}
		if strings.HasPrefix(e.Doing, "failed") {
			fmt.Fprintln(p, "  "+text)
		}
	}, func() { b.SetCurrent(100); p.Wait() }
}
