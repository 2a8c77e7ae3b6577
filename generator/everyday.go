package generator

import "time"

// everyday is ordinary life: events that come at random, each a page visit, a
// mail check, a print job and so on, by the hour of the day.
type everyday struct {
	random
	ent    enterprise
	world  *world
	zone   *time.Location
	now    int64 // ms, the beginning of the next second
	perSec float64
	means  []float64 // of the activities' rhythms over the window
	levels []int     // cumulative weight of the activities now
	emit   func(*conversation)
}

// activity is one kind of event.
type activity struct {
	weight int // share of the events, over the whole window
	rhythm *rhythm
	play   func(d *everyday, at int64)
}

// activities in the order that the random choices depend on.
var activities = []activity{
	{400, &officeHours, (*everyday).browse},
	{60, &publicHours, (*everyday).guestBrowse},
	{120, &officeHours, (*everyday).readMail},
	{90, &officeHours, (*everyday).openFiles},
	{70, &officeHours, (*everyday).logOn},
	{110, &officeHours, (*everyday).useApplication},
	{45, &officeHours, (*everyday).useBatchService},
	{120, &aroundClock, (*everyday).queryDatabase},
	{40, &aroundClock, (*everyday).relayMail},
	{110, &publicHours, (*everyday).publicVisit},
	{25, &officeHours, (*everyday).printPages},
	{15, &officeHours, (*everyday).scanToMail},
	{40, &aroundClock, (*everyday).recordMotion},
	{8, &officeHours, (*everyday).meet},
	{8, &officeHours, (*everyday).administer},
	{40, &aroundClock, (*everyday).noise},
}

func newEveryday(cfg Config, w *world, start, end int64, events float64) *everyday {
	d := &everyday{
		random: newRandom(cfg.Seed, "everyday"), ent: newEnterprise(cfg.Hosts), world: w,
		zone: cfg.Start.Location(), now: start, perSec: events * 1000 / float64(end-start),
	}
	for i := range activities {
		d.means = append(d.means, activities[i].rhythm.mean(cfg.Start, cfg.Duration))
	}
	d.levels = make([]int, len(activities))
	return d
}

// weigh returns the sum of the activities' weights at a time; nil levels for
// the mean of the window.
func (d *everyday) weigh(at int64) int {
	sum := 0
	t := time.UnixMilli(at).In(d.zone)
	for i := range activities {
		level := 1.0
		if at != 0 {
			level = activities[i].rhythm.at(t) / d.means[i]
		}
		sum += int(float64(activities[i].weight) * level * 1000)
		d.levels[i] = sum
	}
	return sum
}

func (d *everyday) advance(until int64, emit func(*conversation)) {
	d.emit = emit
	mean := 0
	for i := range activities {
		mean += activities[i].weight * 1000
	}
	for ; d.now < until; d.now += 1000 {
		if d.levels[0] == 0 || d.now/1000%60 == 0 {
			d.weigh(d.now)
		}
		sum := d.levels[len(d.levels)-1]
		for range d.arrivals(d.perSec * float64(sum) / float64(mean)) {
			d.one(sum, d.now+d.Int64N(1000))
		}
	}
}

// play makes events of the window's mean mix.
func (d *everyday) play(events int, emit func(*conversation)) {
	d.emit = emit
	sum := d.weigh(0)
	for range events {
		d.one(sum, d.now)
	}
}

func (d *everyday) one(sum int, at int64) {
	x := d.IntN(sum)
	for i, level := range d.levels {
		if x < level {
			activities[i].play(d, at)
			return
		}
	}
}
