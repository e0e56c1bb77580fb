module flotilla/tests/probe

go 1.26
