package bench

import "testing"

// TestPerformance takes the measurements one after the other and prints one
// table. A measurement that can't be taken fails; a slow one does not.
func TestPerformance(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes; nothing here is right or wrong")
	}
	b := &table{}
	published := publish(t)
	for _, m := range []struct {
		name string
		take func(*testing.T, *table, publication)
	}{
		{"sizes", sizes},
		{"cold start", coldStart},
		{"inventory", listPackages},
		{"scan", scan},
		{"vercmp", versions},
		{"delta", delta},
		{"publisher", publisherDay},
		{"agent", agentAndServer},
		{"index", index},
	} {
		t.Run(m.name, func(t *testing.T) { m.take(t, b, published) })
	}
	b.publish(t)
}
