package auth

// Guess is the error of a try that came to nothing and was told to
// Config.Guessed: whoever keeps a log need not write it down a second time.
type Guess struct{ cause error }

// Error is the text of the cause.
func (g Guess) Error() string { return g.cause.Error() }

// Unwrap returns the cause, a fault.
func (g Guess) Unwrap() error { return g.cause }

// Counted reports that the try was told to Config.Guessed.
func (g Guess) Counted() bool { return true }

// guess tells of a try that failed and returns its error.
func (s *Service) guess(err error, action, object, address string) error {
	if s.Guessed == nil {
		return err
	}
	s.Guessed(action, object, address)
	return Guess{err}
}
