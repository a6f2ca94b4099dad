package deploy

import "github.com/fettlehq/fettle/internal/estate"

// TaskFilter narrows a list of tasks. Zero fields do not narrow.
type TaskFilter struct {
	Deployment ID
	Endpoint   estate.EndpointID
	States     []State
	// Open selects tasks that have not ended.
	Open bool
	// History loads the steps of each task as well.
	History bool
	// After is the cursor that the page before gave; Limit its length, at
	// most 1,000 (0: 100).
	After string
	Limit int
}
