package geo

import (
	"strconv"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2/mmdbdata"
)

// Record is what a database says of an address. Empty means that it does not
// say.
type Record struct {
	// ASNumber is the autonomous system, ASOrganization who runs it.
	ASNumber       int64
	ASOrganization string
	// CountryISOCode is ISO 3166-1 alpha-2, ContinentCode two letters,
	// RegionISOCode ISO 3166-2 ("DE-BE").
	CountryISOCode, CountryName string
	ContinentCode               string
	RegionISOCode               string
	CityName                    string
	// Latitude and Longitude in degrees, valid when HasLocation.
	Latitude, Longitude float64
	HasLocation         bool

	latitudeSeen, longitudeSeen bool
}

// merge fills what r does not say with what o says. Fields that only make
// sense together are taken together.
func (r *Record) merge(o *Record) {
	if r.ASNumber == 0 && o.ASNumber != 0 {
		r.ASNumber = o.ASNumber
	}
	if r.ASOrganization == "" && r.ASNumber == o.ASNumber {
		r.ASOrganization = o.ASOrganization
	}
	if r.CountryISOCode == "" || r.CountryISOCode == o.CountryISOCode {
		fill(&r.CountryISOCode, o.CountryISOCode)
		fill(&r.CountryName, o.CountryName)
		fill(&r.ContinentCode, o.ContinentCode)
		fill(&r.RegionISOCode, o.RegionISOCode)
		fill(&r.CityName, o.CityName)
		if !r.HasLocation && o.HasLocation {
			r.Latitude, r.Longitude, r.HasLocation = o.Latitude, o.Longitude, true
		}
	}
}

func fill(dst *string, s string) {
	if *dst == "" {
		*dst = s
	}
}

// UnmarshalMaxMindDBCursor reads a record of any of the three layouts in use.
// They share no field name with different meaning, so one reader serves them
// all, and a database that mixes them as well:
//
//   - MaxMind and DB-IP, nested: country.iso_code, city.names.en,
//     location.latitude, autonomous_system_number;
//   - IPinfo: country or country_code, asn ("AS64500"), as_name, lat, lng as
//     text;
//   - flat: country_code, city, latitude, state1.
func (r *Record) UnmarshalMaxMindDBCursor(c mmdbdata.Cursor) (mmdbdata.Cursor, error) {
	*r = Record{}
	var registered Record // where the network is registered: better than nothing
	next, err := eachKey(c, func(key []byte, v mmdbdata.Cursor) (mmdbdata.Cursor, error) {
		switch string(key) {
		case "autonomous_system_number", "asn", "as_number":
			return readASN(v, &r.ASNumber)
		case "autonomous_system_organization", "as_name", "as_organization", "as_org":
			return readString(v, &r.ASOrganization)
		case "country":
			return readCountry(v, r)
		case "registered_country":
			return readCountry(v, &registered)
		case "country_code":
			return readString(v, &r.CountryISOCode)
		case "country_name":
			return readString(v, &r.CountryName)
		case "continent":
			return readContinent(v, r)
		case "continent_code":
			return readString(v, &r.ContinentCode)
		case "city":
			return readName(v, &r.CityName)
		case "city_name":
			return readString(v, &r.CityName)
		case "subdivisions":
			return readSubdivisions(v, &r.RegionISOCode)
		case "region_code", "state_code":
			return readString(v, &r.RegionISOCode)
		case "location":
			return readLocation(v, r)
		case "latitude", "lat":
			return readDegrees(v, &r.Latitude, &r.latitudeSeen)
		case "longitude", "lng", "lon":
			return readDegrees(v, &r.Longitude, &r.longitudeSeen)
		}
		return v.Skip()
	})
	if err != nil {
		return next, err
	}
	if r.CountryISOCode == "" {
		r.CountryISOCode, r.CountryName = registered.CountryISOCode, registered.CountryName
	}
	if r.RegionISOCode != "" && r.CountryISOCode != "" && !strings.Contains(r.RegionISOCode, "-") {
		r.RegionISOCode = r.CountryISOCode + "-" + r.RegionISOCode
	}
	r.HasLocation = r.latitudeSeen && r.longitudeSeen &&
		r.Latitude >= -90 && r.Latitude <= 90 && r.Longitude >= -180 && r.Longitude <= 180
	return next, nil
}

// eachKey calls f for each entry of a map; what is not a map is skipped.
func eachKey(c mmdbdata.Cursor, f func(key []byte, v mmdbdata.Cursor) (mmdbdata.Cursor, error)) (mmdbdata.Cursor, error) {
	kind, err := c.Kind()
	if err != nil {
		return mmdbdata.Cursor{}, err
	}
	if kind != mmdbdata.KindMap {
		return c.Skip()
	}
	entries, err := c.Map()
	if err != nil {
		return mmdbdata.Cursor{}, err
	}
	var next mmdbdata.Cursor
	for {
		key, v, ok := entries.Next(next)
		if !ok {
			break
		}
		if next, err = f(key, v); err != nil {
			return mmdbdata.Cursor{}, err
		}
	}
	return entries.End()
}

// readString reads text; a value of another kind is skipped: a field that
// some vendor fills differently must not cost the rest of the record.
func readString(c mmdbdata.Cursor, dst *string) (mmdbdata.Cursor, error) {
	kind, err := c.Kind()
	if err != nil {
		return mmdbdata.Cursor{}, err
	}
	if kind != mmdbdata.KindString {
		return c.Skip()
	}
	s, next, err := c.ReadString()
	// The reader's buffer goes when the database is replaced; a copy does not.
	*dst = strings.Clone(s)
	return next, err
}

func readNumber(c mmdbdata.Cursor, dst *float64, seen *bool) (mmdbdata.Cursor, error) {
	kind, err := c.Kind()
	if err != nil {
		return mmdbdata.Cursor{}, err
	}
	switch kind {
	case mmdbdata.KindFloat64, mmdbdata.KindFloat32:
		v, next, err := c.ReadFloat()
		*dst, *seen = v, true
		return next, err
	case mmdbdata.KindUint16, mmdbdata.KindUint32, mmdbdata.KindUint64, mmdbdata.KindInt32:
		v, signed, next, err := c.ReadInteger()
		if *dst = float64(v); signed {
			*dst = float64(int64(v))
		}
		*seen = true
		return next, err
	}
	return c.Skip()
}

// readDegrees reads a coordinate, which IPinfo writes as text.
func readDegrees(c mmdbdata.Cursor, dst *float64, seen *bool) (mmdbdata.Cursor, error) {
	kind, err := c.Kind()
	if err != nil || kind != mmdbdata.KindString {
		return readNumber(c, dst, seen)
	}
	s, next, err := c.ReadString()
	if v, perr := strconv.ParseFloat(s, 64); perr == nil {
		*dst, *seen = v, true
	}
	return next, err
}

// readASN reads 64500, "64500" or "AS64500".
func readASN(c mmdbdata.Cursor, dst *int64) (mmdbdata.Cursor, error) {
	kind, err := c.Kind()
	if err != nil {
		return mmdbdata.Cursor{}, err
	}
	if kind != mmdbdata.KindString {
		var f float64
		var seen bool
		next, err := readNumber(c, &f, &seen)
		if seen && f > 0 && f < 1<<32 {
			*dst = int64(f)
		}
		return next, err
	}
	s, next, err := c.ReadString()
	if v, perr := strconv.ParseUint(strings.TrimPrefix(s, "AS"), 10, 32); perr == nil {
		*dst = int64(v)
	}
	return next, err
}

// readCountry reads the nested layout, or text: a code of two letters, or a
// name (IPinfo Lite, which has the code beside it).
func readCountry(c mmdbdata.Cursor, r *Record) (mmdbdata.Cursor, error) {
	kind, err := c.Kind()
	if err != nil {
		return mmdbdata.Cursor{}, err
	}
	if kind == mmdbdata.KindString {
		var s string
		next, err := readString(c, &s)
		if len(s) == 2 {
			fill(&r.CountryISOCode, s)
		} else {
			fill(&r.CountryName, s)
		}
		return next, err
	}
	return eachKey(c, func(key []byte, v mmdbdata.Cursor) (mmdbdata.Cursor, error) {
		switch string(key) {
		case "iso_code":
			return readString(v, &r.CountryISOCode)
		case "names":
			return readEnglish(v, &r.CountryName)
		}
		return v.Skip()
	})
}

func readContinent(c mmdbdata.Cursor, r *Record) (mmdbdata.Cursor, error) {
	kind, err := c.Kind()
	if err != nil {
		return mmdbdata.Cursor{}, err
	}
	if kind == mmdbdata.KindString {
		var s string
		next, err := readString(c, &s)
		if len(s) == 2 {
			fill(&r.ContinentCode, s)
		}
		return next, err
	}
	return eachKey(c, func(key []byte, v mmdbdata.Cursor) (mmdbdata.Cursor, error) {
		if string(key) == "code" {
			return readString(v, &r.ContinentCode)
		}
		return v.Skip()
	})
}

// readName reads text, or the English one of a map with names.
func readName(c mmdbdata.Cursor, dst *string) (mmdbdata.Cursor, error) {
	kind, err := c.Kind()
	if err != nil {
		return mmdbdata.Cursor{}, err
	}
	if kind == mmdbdata.KindString {
		return readString(c, dst)
	}
	return eachKey(c, func(key []byte, v mmdbdata.Cursor) (mmdbdata.Cursor, error) {
		if string(key) == "names" {
			return readEnglish(v, dst)
		}
		return v.Skip()
	})
}

func readEnglish(c mmdbdata.Cursor, dst *string) (mmdbdata.Cursor, error) {
	return eachKey(c, func(key []byte, v mmdbdata.Cursor) (mmdbdata.Cursor, error) {
		if string(key) == "en" {
			return readString(v, dst)
		}
		return v.Skip()
	})
}

// readSubdivisions reads the code of the largest subdivision, the first.
func readSubdivisions(c mmdbdata.Cursor, dst *string) (mmdbdata.Cursor, error) {
	kind, err := c.Kind()
	if err != nil {
		return mmdbdata.Cursor{}, err
	}
	if kind != mmdbdata.KindSlice {
		return c.Skip()
	}
	items, err := c.Slice()
	if err != nil {
		return mmdbdata.Cursor{}, err
	}
	var next mmdbdata.Cursor
	for {
		i, v, ok := items.Next(next)
		if !ok {
			break
		}
		if i > 0 {
			next, err = v.Skip()
		} else {
			next, err = eachKey(v, func(key []byte, v mmdbdata.Cursor) (mmdbdata.Cursor, error) {
				if string(key) == "iso_code" {
					return readString(v, dst)
				}
				return v.Skip()
			})
		}
		if err != nil {
			return mmdbdata.Cursor{}, err
		}
	}
	return items.End()
}

func readLocation(c mmdbdata.Cursor, r *Record) (mmdbdata.Cursor, error) {
	return eachKey(c, func(key []byte, v mmdbdata.Cursor) (mmdbdata.Cursor, error) {
		switch string(key) {
		case "latitude":
			return readDegrees(v, &r.Latitude, &r.latitudeSeen)
		case "longitude":
			return readDegrees(v, &r.Longitude, &r.longitudeSeen)
		}
		return v.Skip()
	})
}
