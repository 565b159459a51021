package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

const (
	inFlight    = 64
	batchSize   = 10
	attemptsMax = 100
)

// One message that is being sent: its number, and which attempt this is.
type outgoing struct {
	number  int
	attempt string
	message *primitive.Message
}

// The sending of one produce command.
type producing struct {
	*driver
	rocketmq.Producer
	command
	id    string
	kind  string
	topic string
	tags  []string
	// Sends messages in one request.
	send func(context.Context, ...*primitive.Message) (*primitive.SendResult, error)
}

// Sends the numbers of a command and reports each attempt and its outcome.
func (d *driver) produce(p rocketmq.Producer, c command) {
	s := producing{d, p, c, c.fields["id"], c.fields["kind"], c.fields["topic"], strings.Split(c.fields["tags"], ","), p.SendSync}
	if s.kind == "transaction" {
		transactions, err := d.transactionProducer(c.fields["group"])
		if err != nil {
			d.report.line("error", s.id, err)
			return
		}
		s.send = func(ctx context.Context, messages ...*primitive.Message) (*primitive.SendResult, error) {
			result, err := transactions.SendMessageInTransaction(ctx, messages[0])
			if err != nil {
				return nil, err
			}
			return result.SendResult, nil
		}
	}
	pace := time.Duration(c.number("pace")) * time.Millisecond
	from := c.number("from")
	end := from + c.number("count")
	window := make(chan struct{}, inFlight)
	var pending sync.WaitGroup
	for n := from; n < end; n++ {
		switch s.kind {
		case "sync", "ordered", "transaction":
			s.untilAcknowledged(n, n+1)
		case "batch":
			last := n + batchSize
			if last > end {
				last = end
			}
			s.untilAcknowledged(n, last)
			n = last - 1
		case "async":
			window <- struct{}{}
			pending.Add(1)
			s.async(s.attempt(n, 0), func() { <-window; pending.Done() })
		case "oneway":
			one := s.attempt(n, 0)
			outcome := "oneway"
			if err := s.SendOneWay(context.Background(), one.message); err != nil {
				outcome = err.Error()
			}
			s.report.line("unknown", s.id, n, one.attempt, outcome)
		default:
			panic("no kind " + s.kind)
		}
		time.Sleep(pace)
	}
	pending.Wait()
	s.report.line("sent", s.id)
}

func (s *producing) attempt(number, tries int) outgoing {
	attempt := fmt.Sprintf("%d.%d", number, tries)
	m := primitive.NewMessage(s.topic, []byte(fmt.Sprintf("%s %d", s.topic, number)))
	m.WithTag(s.tags[number%len(s.tags)]).WithKeys([]string{fmt.Sprintf("key-%d", number)})
	m.WithProperty("n", fmt.Sprint(number))
	m.WithProperty("attempt", attempt)
	if level := s.command.number("level"); level > 0 {
		m.WithDelayTimeLevel(level)
	}
	if s.kind == "ordered" {
		m.WithShardingKey(fmt.Sprintf("shard-%d", number%4))
	}
	s.report.line("try", s.id, number, attempt)
	return outgoing{number, attempt, m}
}

// Sends the numbers from first to last, which is not included, in one request.
func (s *producing) untilAcknowledged(first, last int) {
	for tries := 0; tries < attemptsMax; tries++ {
		var all []outgoing
		var messages []*primitive.Message
		for n := first; n < last; n++ {
			one := s.attempt(n, tries)
			all = append(all, one)
			messages = append(messages, one.message)
		}
		result, err := s.send(context.Background(), messages...)
		if s.settle(all, result, err) {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// A failed asynchronous send is not repeated: its outcome stays unknown.
func (s *producing) async(one outgoing, finish func()) {
	then := func(_ context.Context, result *primitive.SendResult, err error) {
		s.settle([]outgoing{one}, result, err)
		finish()
	}
	if err := s.SendAsync(context.Background(), then, one.message); err != nil {
		then(nil, nil, err)
	}
}

func (s *producing) settle(all []outgoing, result *primitive.SendResult, err error) bool {
	if err == nil && result.Status != primitive.SendOK {
		err = fmt.Errorf("status %d", result.Status)
	}
	if err != nil {
		for _, one := range all {
			s.report.line("unknown", s.id, one.number, one.attempt, err)
		}
		return false
	}
	for i, one := range all {
		// Of the messages of a batch the library tells no ids.
		s.report.line("ack", s.id, one.number, one.attempt, result.MsgID, result.MessageQueue.QueueId,
			result.QueueOffset+int64(i))
	}
	return true
}
