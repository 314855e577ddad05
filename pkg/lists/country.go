package lists

import (
	"slices"
	"strings"

	"github.com/biter777/countries"
)

// listed are spellings of the lists for which ISO 3166-1 has another name.
var listed = map[string]string{
	"BURMA": "MM", "CABO VERDE": "CV", "CONGO, DEMOCRATIC REPUBLIC OF THE": "CD", "CONGO": "CG",
	"DEMOCRATIC PEOPLE'S REPUBLIC OF KOREA": "KP", "KOREA, NORTH": "KP", "KOREA, SOUTH": "KR",
	"DEMOCRATIC REPUBLIC OF THE CONGO": "CD", "IRAN (ISLAMIC REPUBLIC OF)": "IR", "IRAN": "IR",
	"KOSOVO": "XK", "MACEDONIA, THE FORMER YUGOSLAV REPUBLIC OF": "MK", "PALESTINIAN": "PS",
	"STATE OF PALESTINE": "PS", "RUSSIAN FEDERATION": "RU", "RUSSIA": "RU", "SYRIA": "SY",
	"SYRIAN ARAB REPUBLIC": "SY", "TÜRKIYE": "TR", "TURKEY": "TR", "VENEZUELA": "VE", "BOLIVIA": "BO",
	"UNITED KINGDOM OF GREAT BRITAIN AND NORTHERN IRELAND": "GB", "UK": "GB", "UNITED KINGDOM": "GB",
	"UNITED REPUBLIC OF TANZANIA": "TZ", "TANZANIA": "TZ", "UNITED STATES OF AMERICA": "US", "UNITED STATES": "US",
	"VIETNAM": "VN", "LAOS": "LA", "LIBYA": "LY", "MOLDOVA": "MD", "TAIWAN": "TW", "CZECH REPUBLIC": "CZ", "IVORY COAST": "CI",
}

// lastISO is the highest numeric code of ISO 3166-1; above it the library keeps its own.
const lastISO = 999

var byName = func() map[string]string {
	m := map[string]string{}
	for _, c := range countries.All() {
		withdrawn := c == countries.YUG || c == countries.ANT
		if c > 0 && c < lastISO && !withdrawn && len(c.Alpha2()) == 2 {
			m[c.Alpha2()], m[c.Alpha3()], m[strings.ToUpper(c.String())] = c.Alpha2(), c.Alpha2(), c.Alpha2()
		}
	}
	for name, code := range listed {
		m[name] = code
	}
	return m
}()

// addNationality adds a country that the entry does not have yet.
func addNationality(e *Entry, s string) {
	if code := country(s); code != "" && !slices.Contains(e.Nationalities, code) {
		e.Nationalities = append(e.Nationalities, code)
	}
}

// country is the ISO 3166-1 alpha-2 code of a country as lists name it, else the name itself.
func country(s string) string {
	s = strings.TrimSpace(s)
	name := strings.ToUpper(s)
	if code, known := byName[strings.TrimPrefix(name, "THE ")]; known {
		return code
	}
	return s
}
