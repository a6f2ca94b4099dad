package storetest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/server/store"
)

// Bench measures what happens at each contact of an agent, with many agents
// at once.
func Bench(b *testing.B, db *store.DB) {
	tenant := NewTenant(b, db, "bench")
	in := db.In(estate.InTenant(tenant))
	machines := ids("bench", 200)
	for _, id := range machines {
		Enrol(b, db, tenant, estate.DefaultSite, id)
		putInventory(b, db, tenant, id, "k")
	}
	var n atomic.Int64
	b.Run("CheckIn", func(b *testing.B) {
		b.SetParallelism(256)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				i := n.Add(1)
				id := machines[i%int64(len(machines))]
				if err := in.CheckIn(context.Background(), store.Contact{Endpoint: id, Tenant: tenant, Seen: epoch.Add(1)}); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("Identity", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := in.Identity(context.Background(), machines[n.Add(1)%int64(len(machines))]); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("PutInventory/new-state", func(b *testing.B) {
		for b.Loop() {
			i := n.Add(1)
			r := report(tenant, machines[i%int64(len(machines))], fmt.Sprint("kernel-", i))
			if err := in.PutInventory(b.Context(), r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
