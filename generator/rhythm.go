package generator

import "time"

// rhythm is the activity by local hour, in percent of the busiest.
type rhythm [24]int

var (
	officeHours = rhythm{4, 3, 3, 3, 4, 8, 20, 50, 85, 100, 98, 92, 70, 85, 96, 95, 88, 70, 42, 25, 18, 14, 9, 6}
	aroundClock = rhythm{60, 55, 55, 55, 55, 60, 70, 80, 95, 100, 100, 100, 95, 95, 100, 100, 95, 90, 85, 80, 80, 75, 70, 65}
	publicHours = rhythm{35, 25, 20, 18, 20, 25, 35, 50, 60, 70, 75, 80, 82, 80, 78, 78, 80, 85, 92, 98, 100, 95, 80, 55}
)

// at interpolates between the hours. Weekends are a quarter of office hours.
func (h *rhythm) at(t time.Time) float64 {
	hour, part := t.Hour(), float64(t.Minute()*60+t.Second())/3600
	level := float64(h[hour])*(1-part) + float64(h[(hour+1)%24])*part
	if day := t.Weekday(); h == &officeHours && (day == time.Saturday || day == time.Sunday) {
		level /= 4
	}
	return level / 100
}

// mean is the rhythm's mean over a window, by minutes.
func (h *rhythm) mean(from time.Time, d time.Duration) float64 {
	sum, n := 0.0, 0
	for t := from; t.Before(from.Add(d)); t = t.Add(time.Minute) {
		sum += h.at(t)
		n++
	}
	return sum / float64(n)
}
