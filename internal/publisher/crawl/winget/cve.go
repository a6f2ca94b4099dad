package winget

import (
	"context"

	"github.com/fettlehq/fettle/internal/patch"
)

type flaw struct{}

type flaws []flaw

func (fs flaws) enter(p *patch.Patch, r release, before string, into map[string]patch.Advisory) {}

func (f *fetching) records(ctx context.Context, all []Version) error { return nil }
