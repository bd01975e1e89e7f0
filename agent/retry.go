package main

import "time"

const (
	retryDelay   = time.Second
	patientTries = 5 // so many at that pace: what is missing may be just coming
	longestDelay = 30 * time.Second
)

// retry tells when a system whose attach failed is tried again.
type retry struct {
	at    time.Time
	tries int
}

// after gives the next one: a second later at first, then later and later.
func (r retry) after(now time.Time) retry {
	delay := retryDelay
	for i := patientTries; i <= r.tries && delay < longestDelay; i++ {
		delay *= 2
	}
	return retry{at: now.Add(min(delay, longestDelay)), tries: r.tries + 1}
}
