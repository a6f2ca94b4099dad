package fault

// Status is the HTTP status (RFC 9110, RFC 6585) with which an answer carries
// a fault of the code: one table for all of Fettle. Programs decide on the code
// in the body, so the status is for what stands between and for people. Numbers
// stand here because this package knows nothing of the network.
func Status(c Code) int {
	switch c {
	case Invalid:
		return 422
	case NotFound:
		return 404
	case Conflict, Nothing:
		return 409
	case Unauthenticated:
		return 401
	case Denied:
		return 403
	case Untrusted:
		return 502
	case Unavailable, Cancelled:
		return 503
	case Exhausted:
		return 429
	case Unsupported:
		return 501
	case Internal:
	}
	return 500
}

// OfStatus is the code of an answer that carries none: one of a proxy, of a
// load balancer, of a web server. Statuses below 400 have no code ("").
func OfStatus(status int) Code {
	switch status {
	case 401:
		return Unauthenticated
	case 403:
		return Denied
	case 404, 410:
		return NotFound
	case 409:
		return Conflict
	case 407, 408: // a proxy that wants a password, a time that ran out
		return Unavailable
	case 429:
		return Exhausted
	case 500:
		return Internal
	case 501:
		return Unsupported
	}
	switch {
	case status < 400:
		return ""
	case status < 500:
		return Invalid
	}
	return Unavailable
}
