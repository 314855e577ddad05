package candescent

// The documents that Candescent's clients send, in JSON and in XML. Members and elements that
// are not named here are ignored.

type request struct {
	Customer *customer `json:"FICustomer"` // in XML the root
}

type customer struct {
	MemberNumber string `json:"memberNumber"`
	Person       person `json:"person"`
	Channels     struct {
		Channel []channel `json:"channelInfo"`
	} `json:"channelInfos"`
	Disclosures struct {
		Disclosure []disclosure `json:"disclosure"`
	} `json:"disclosures"`
}

type person struct {
	Name struct {
		First  string `json:"firstName"`
		Middle string `json:"middleName"`
		Last   string `json:"lastName"`
	} `json:"personName"`
	Contact           contact `json:"contactInfo"`
	BirthDate         string  `json:"birthDate"`
	SSN               string  `json:"ssn"`
	MothersMaidenName string  `json:"mothersMaidenName"`
}

type contact struct {
	Email     string    `json:"emailAddress"`
	Addresses []address `json:"postalAddress"`
	Phones    []phone   `json:"phoneNumber"`
}

type address struct {
	Address1   string `json:"address1"`
	Address2   string `json:"address2"`
	City       string `json:"city"`
	State      string `json:"state"`
	PostalCode string `json:"postalCode"`
	Country    string `json:"country"`
}

type phone struct {
	Number string `json:"number"`
}

type channel struct {
	Type       string `json:"channelType"`
	Credential struct {
		LoginID  string `json:"loginId"`
		Password string `json:"password"`
	} `json:"credential"`
}

type disclosure struct {
	ID       string `json:"id"`
	Version  string `json:"version"`
	Accepted bool   `json:"accepted"`
}
