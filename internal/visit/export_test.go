package visit

// SetLimits sets what visits may hold, before the first one.
func (v *Visits) SetLimits(limits Limits) { v.limits = limits }

// Bytes returns what all visits of this instance hold.
func (v *Visits) Bytes() int { return v.states.bytes() }
