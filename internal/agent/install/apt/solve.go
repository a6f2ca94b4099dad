package apt

import (
	"context"
	"slices"

	"github.com/fettlehq/fettle/internal/deploy"
)

// solver looks for the candidates that apt can install together.
type solver struct {
	w     *workspace
	specs []spec // of what was accepted
	out   string // apt's simulation of them
	left  []candidate
	why   []string // why each of left failed
}

// solve takes all candidates when apt can install them together; else it
// halves them until those that can't be installed stand alone. What failed
// gets another chance beside all that was accepted, as one may need another.
func (w *workspace) solve(ctx context.Context, all []candidate) (specs []spec, out string, refused []deploy.Refusal, err error) {
	s := &solver{w: w}
	for before := -1; len(all) > 0 && len(all) != before; all = s.left {
		before = len(all)
		s.left, s.why = nil, nil
		if err := s.add(ctx, all); err != nil {
			return nil, "", nil, err
		}
	}
	for i, c := range s.left {
		for _, id := range c.ids {
			refused = append(refused, deploy.Refusal{Patch: id, Reason: s.why[i]})
		}
	}
	return s.specs, s.out, refused, nil
}

func (s *solver) add(ctx context.Context, list []candidate) error {
	try := slices.Clone(s.specs)
	for _, c := range list {
		try = append(try, c.specs...)
	}
	out, problem, err := s.w.simulate(ctx, try)
	switch {
	case err != nil:
		return err
	case problem == "":
		s.specs, s.out = try, out
		return nil
	case len(list) == 1:
		s.left, s.why = append(s.left, list[0]), append(s.why, problem)
		return nil
	}
	half := len(list) / 2
	if err := s.add(ctx, list[:half]); err != nil {
		return err
	}
	return s.add(ctx, list[half:])
}

// simulate runs apt-get -s. problem is apt's reason when it can't be done.
func (w *workspace) simulate(ctx context.Context, specs []spec) (out, problem string, err error) {
	// The lock is not needed to simulate; another package manager may work.
	args := append([]string{"-s", "-o", "Debug::NoLocking=true", "install"}, argsOf(specs)...)
	res, err := w.aptGet(ctx, simulateTimeout, nil, args...)
	if err != nil {
		return "", "", err
	}
	out = string(res.Stdout)
	if res.ExitCode != 0 {
		return "", "apt can't install it: " + unmet(out) + removals(out) + lastError(string(res.Stderr)+"\n"+out), nil
	}
	return out, "", nil
}
