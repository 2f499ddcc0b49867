package visit

// SetLimits sets the limits of visits. It must be called before the first visit.
func (v *Visits) SetLimits(limits Limits) { v.limits = limits }

// Bytes returns the size of all visits of this instance.
func (v *Visits) Bytes() int { return v.states.bytes() }
