module github.com/usherhq/usher/events

go 1.26.0
