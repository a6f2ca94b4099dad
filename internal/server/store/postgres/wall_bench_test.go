package postgres

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/server/store"
	"github.com/fettlehq/fettle/internal/server/store/storetest"
)

// BenchmarkWall measures what the setting and the policies cost: each round
// asks the same as a role that the policies hold for, with a sight, and as a
// superuser without one. "times" is the median of the first by the second in
// the same round; "ns/walled" and "ns/bare" are medians too.
func BenchmarkWall(b *testing.B) {
	cluster := shared.Postgres(b)
	db, err := Open(b.Context(), Config{DSN: cluster.DSN})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for _, tenant := range []string{"one", "two"} {
		storetest.NewTenant(b, db, tenant)
		cluster.SQL(b, "fettle", `insert into endpoints select '`+tenant+`-' || n, '`+tenant+`', 'main', 'host-' || n, 'debian-12-amd64', 'active', 1, 0, '{}' from generate_series(1, 5000) n`)
		cluster.SQL(b, "fettle", `insert into contacts select id, tenant, 1, 1, 0, '', '', '' from endpoints where tenant = '`+tenant+`'`)
	}
	cluster.SQL(b, "fettle", "analyze")
	walled, bare := connect(b, cluster.DSN), connect(b, cluster.Admin)
	sight := store.SightOf(estate.InTenant("one"))
	ask := func(text string, args ...any) func(context.Context, pool, store.Sight) error {
		return func(ctx context.Context, p pool, s store.Sight) error {
			return p.Ask(ctx, s, store.Query{Text: text, Args: args}, func(store.Row) error { return nil })
		}
	}
	for _, c := range []struct {
		name string
		run  func(context.Context, pool, store.Sight) error
	}{
		{"Row", ask("select e.tenant, e.site, e.state, coalesce(i.root, '') from endpoints e left join inventories i on i.endpoint = e.id where e.id = $1", "one-77")},
		{"Page", ask("select id, doc, hostname from endpoints where tenant = $1 and id > $2 order by tenant, id limit 100", "one", "one-3")},
		{"Tenant", ask("select id, doc, hostname from endpoints where tenant = $1", "one")},
		{"Count", ask("select count(*) from endpoints e join contacts c on c.endpoint = e.id where e.tenant = $1", "one")},
		{"Update", func(ctx context.Context, p pool, s store.Sight) error {
			_, err := p.Do(ctx, s, store.Query{Text: "update contacts set seen = seen + 1 where tenant = $1 and endpoint = $2", Args: []any{"one", "one-5"}})
			return err
		}},
		{"Transaction", func(ctx context.Context, p pool, s store.Sight) error {
			return p.Write(ctx, s, func(tx store.Tx) error {
				_, err := tx.Exec(ctx, "update contacts set seen = seen + 1 where tenant = $1 and endpoint = $2", "one", "one-6")
				return err
			})
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var with, without, times []float64
			one := func(p pool, s store.Sight) float64 {
				start := time.Now()
				if err := c.run(b.Context(), p, s); err != nil {
					b.Fatal(err)
				}
				return float64(time.Since(start))
			}
			for range 10 { // both know their statements
				one(walled, sight)
				one(bare, store.Sight{})
			}
			for n := 0; b.Loop(); n++ {
				var x, y float64
				if n%2 == 0 {
					x, y = one(walled, sight), one(bare, store.Sight{})
				} else {
					y, x = one(bare, store.Sight{}), one(walled, sight)
				}
				with, without, times = append(with, x), append(without, y), append(times, x/y)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(with), "ns/walled")
			b.ReportMetric(median(without), "ns/bare")
			b.ReportMetric(median(times), "times")
		})
	}
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

func connect(t testing.TB, dsn string) pool {
	t.Helper()
	conns, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conns.Close)
	return pool{conns}
}
