package chattest

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"parley/internal/bot"
	"parley/internal/feed"
	"parley/internal/realtime"
	"parley/internal/redistest"
)

// Soon is much shorter than the polling interval, which finds changes without a notification.
const Soon = time.Second

// RedisCluster is a cluster whose instances are connected through Redis.
type RedisCluster struct {
	*Cluster
	Redis *redistest.Server
}

// NewRedisCluster returns a RedisCluster without instances.
func NewRedisCluster(t *testing.T) *RedisCluster {
	t.Helper()
	return &RedisCluster{Cluster: NewCluster(t), Redis: redistest.Start(t)}
}

// Instance starts an instance and waits until it receives notifications.
func (c *RedisCluster) Instance() *Domain {
	c.t.Helper()
	d, _ := c.Connected(Config{})
	return d
}

// Connected is Instance with a configuration. It also returns the instance's connection to Redis.
func (c *RedisCluster) Connected(config Config) (*Domain, *realtime.Redis) {
	c.t.Helper()
	redis, err := realtime.Open(c.t.Context(), c.Redis.URL, slog.New(slog.DiscardHandler))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(redis.Close)
	config.Redis = redis
	d := c.InstanceWith(config)
	Eventually(c.t, "the instance receives notifications", d.Feed.IsListening)
	return d, redis
}

// Watch watches a conversation on an instance.
func (c *RedisCluster) Watch(d *Domain, conversation string) *feed.Watch {
	c.t.Helper()
	watch, err := d.Watch(c.t.Context(), c.Caller, conversation)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(watch.Close)
	return watch
}

// SlowRule returns a rule that writes count deltas, each after a delay, and their text.
func SlowRule(count, delayMS int) (rule bot.ScriptRule, text string) {
	for i := range count {
		rule.Deltas = append(rule.Deltas, fmt.Sprintf("%d 重設 ", i))
	}
	rule.DelayMS = delayMS
	return rule, strings.Join(rule.Deltas, "")
}

// StallingRule returns a rule that writes one delta and then nothing for a minute.
func StallingRule() bot.ScriptRule {
	return bot.ScriptRule{Deltas: []string{"First 重 ", "and last."}, SilentAfter: new(1)}
}
