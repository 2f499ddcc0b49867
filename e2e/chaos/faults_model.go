package main

import (
	"context"
	"time"
)

var modelFaults = append([]fault{
	modelFault("model-silent", "the model server accepts questions and never answers", modeSilent, 8*time.Second, 0),
	modelFault("model-slow", "the model server sends a word now and then", modeSlow, 8*time.Second, 0),
	modelFault("model-aborts", "the model server aborts in the middle of an answer", modeAborts, 6*time.Second, 3*time.Second),
	modelFault("model-garbage", "the model server sends invalid data", modeGarbage, 6*time.Second, 0),
	modelFault("model-errors", "the model server responds with status 500", modeErrors, 6*time.Second, 0),
}, networkFaults("model", func(d *deployment) []*link { return []*link{d.toModel} }, 150, 4, 0)...)

func modelFault(name, description, mode string, duration, short time.Duration) fault {
	return fault{
		name: name, description: description, duration: duration, short: short,
		begin: func(ctx context.Context, d *deployment) error { return d.setModelMode(ctx, mode) },
		end:   func(ctx context.Context, d *deployment) error { return d.setModelMode(ctx, modeNormal) },
	}
}
