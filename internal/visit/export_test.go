package visit

// SetLimit sets how many visits may be served.
func (v *Visits) SetLimit(limit int) { v.limit = limit }
