package main

import (
	"context"
	"time"
)

var modelFaults = append([]fault{
	behaving("model-silent", "the model takes questions and says nothing", behavesMute, 8*time.Second, 0),
	behaving("model-slow", "the model says a word now and then", behavesSlow, 8*time.Second, 0),
	behaving("model-dying", "the model's server breaks off in the middle of a word", behavesDying, 6*time.Second, 3*time.Second),
	behaving("model-mad", "the model's server says what is no answer", behavesMad, 6*time.Second, 0),
	behaving("model-ill", "the model's server answers 500", behavesIll, 6*time.Second, 0),
}, networkFaults("model", func(w *world) []*link { return []*link{w.toModel} }, 150, 4, 0)...)

func behaving(name, what, how string, lasts, short time.Duration) fault {
	return fault{
		name: name, what: what, lasts: lasts, short: short,
		begin: func(ctx context.Context, w *world) error { return w.behave(ctx, how) },
		end:   func(ctx context.Context, w *world) error { return w.behave(ctx, behavesWell) },
	}
}
