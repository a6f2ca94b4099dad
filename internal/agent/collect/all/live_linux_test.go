package all

import (
	"context"
	"testing"

	"github.com/fettlehq/fettle/internal/agent/collect"
	"github.com/fettlehq/fettle/internal/inventory"
)

// BenchmarkCollect tells what each collector costs on this machine.
func BenchmarkCollect(b *testing.B) {
	tree, err := collect.Open("/")
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range List() {
		b.Run(c.Name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s := inventory.Snapshot{OS: inventory.OS{ID: "debian"}}
				if err := c.Collect(context.Background(), tree, &s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
