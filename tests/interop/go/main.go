// Does what the harness says on standard input, with rocketmq-client-go; see ../README.md.
package main

import (
	"bufio"
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

// Lines for the harness: a word and fields, divided by tabs.
type report struct {
	mutex sync.Mutex
	out   *os.File
}

func (r *report) line(fields ...any) {
	texts := make([]string, len(fields))
	for i, field := range fields {
		texts[i] = strings.NewReplacer("\t", " ", "\n", " ").Replace(fmt.Sprint(field))
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	fmt.Fprintln(r.out, strings.Join(texts, "\t"))
}

// One line of the harness.
type command struct {
	word   string
	fields map[string]string
}

func parse(line string) command {
	parts := strings.Split(line, "\t")
	fields := map[string]string{}
	for _, part := range parts[1:] {
		name, value, _ := strings.Cut(part, "=")
		fields[name] = value
	}
	return command{parts[0], fields}
}

func (c command) number(name string) int {
	number, err := strconv.Atoi(c.fields[name])
	if err != nil {
		panic(c.word + " needs a number " + name)
	}
	return number
}

type driver struct {
	report       *report
	namesrv      primitive.NamesrvAddr
	mutex        sync.Mutex
	producers    map[string]rocketmq.Producer
	transactions map[string]rocketmq.TransactionProducer
	consumers    map[string]rocketmq.PushConsumer
}

func main() {
	out := os.Stdout
	// Whatever the library prints must not get between the lines of the report.
	os.Stdout = os.Stderr
	rlog.SetLogLevel("warn")
	// Without a handler the library ends the program when an asynchronous send fails: it reports
	// the failure and then looks into the answer that never came.
	primitive.PanicHandler = func(reason interface{}) { fmt.Fprintln(os.Stderr, "panic:", reason) }
	d := &driver{
		report:       &report{out: out},
		namesrv:      primitive.NamesrvAddr{os.Args[1]},
		producers:    map[string]rocketmq.Producer{},
		transactions: map[string]rocketmq.TransactionProducer{},
		consumers:    map[string]rocketmq.PushConsumer{},
	}
	d.report.line("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		c := parse(lines.Text())
		go func() {
			if err := d.obey(c); err != nil {
				d.report.line("error", c.fields["id"], err)
			}
		}()
	}
}

func (d *driver) obey(c command) error {
	switch c.word {
	case "produce":
		p, err := d.producer(c.fields["group"])
		if err != nil {
			return err
		}
		d.produce(p, c)
		return nil
	case "consume":
		return d.consume(c)
	case "stop":
		d.mutex.Lock()
		stopping := d.consumers[c.fields["id"]]
		d.mutex.Unlock()
		if err := stopping.Shutdown(); err != nil {
			return err
		}
		d.report.line("stopped", c.fields["id"])
		return nil
	}
	return fmt.Errorf("no command %q", c.word)
}

// A producer per group and way to choose a queue; none repeats a send by itself, so that the
// record has every attempt.
func (d *driver) producer(group string) (rocketmq.Producer, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if p, known := d.producers[group]; known {
		return p, nil
	}
	p, err := rocketmq.NewProducer(
		producer.WithNameServer(d.namesrv),
		producer.WithGroupName(group),
		producer.WithInstanceName(group),
		producer.WithRetry(0),
		producer.WithQueueSelector(byShard{producer.NewRoundRobinQueueSelector()}),
	)
	if err != nil {
		return nil, err
	}
	d.producers[group] = p
	return p, p.Start()
}

func (d *driver) transactionProducer(group string) (rocketmq.TransactionProducer, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if p, known := d.transactions[group]; known {
		return p, nil
	}
	p, err := rocketmq.NewTransactionProducer(
		deciding{},
		producer.WithNameServer(d.namesrv),
		producer.WithGroupName(group),
		producer.WithInstanceName(group+"-transactions"),
		producer.WithRetry(0),
	)
	if err != nil {
		return nil, err
	}
	d.transactions[group] = p
	return p, p.Start()
}

// By turns: commits and rolls back at once, and each when the broker asks.
type deciding struct{}

func (deciding) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	if n, _ := strconv.Atoi(m.GetProperty("n")); n%4 >= 2 {
		return primitive.UnknowState
	}
	return decide(m)
}

func (deciding) CheckLocalTransaction(m *primitive.MessageExt) primitive.LocalTransactionState {
	return decide(&m.Message)
}

func decide(m *primitive.Message) primitive.LocalTransactionState {
	if n, _ := strconv.Atoi(m.GetProperty("n")); n%2 == 0 {
		return primitive.CommitMessageState
	}
	return primitive.RollbackMessageState
}

// Messages with a sharding key go to the queue of their shard, the others in turn.
type byShard struct{ otherwise producer.QueueSelector }

func (s byShard) Select(m *primitive.Message, queues []*primitive.MessageQueue, last string) *primitive.MessageQueue {
	shard := m.GetShardingKey()
	if shard == "" {
		return s.otherwise.Select(m, queues, last)
	}
	hash := fnv.New32a()
	hash.Write([]byte(shard))
	return queues[int(hash.Sum32())%len(queues)]
}

func (d *driver) consume(c command) error {
	id := c.fields["id"]
	model := consumer.Clustering
	if c.fields["mode"] == "broadcasting" {
		model = consumer.BroadCasting
	}
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}
	if tags := c.fields["tags"]; tags != "" {
		selector.Expression = tags
	}
	if sql := c.fields["sql"]; sql != "" {
		selector = consumer.MessageSelector{Type: consumer.SQL92, Expression: sql}
	}
	one, err := rocketmq.NewPushConsumer(
		consumer.WithNameServer(d.namesrv),
		consumer.WithGroupName(c.fields["group"]),
		consumer.WithInstance(id),
		consumer.WithConsumerModel(model),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
		consumer.WithConsumerOrder(c.fields["listen"] == "orderly"),
		consumer.WithMaxReconsumeTimes(2),
		consumer.WithConsumeGoroutineNums(4),
	)
	if err != nil {
		return err
	}
	failing := c.fields["failing"] == "tens"
	each := func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			number, err := strconv.Atoi(message.GetProperty("n"))
			if err != nil {
				return consumer.ConsumeRetryLater, err
			}
			d.got(id, number, message)
			if failing && fails(number, message.ReconsumeTimes) {
				return consumer.ConsumeRetryLater, nil
			}
		}
		return consumer.ConsumeSuccess, nil
	}
	if err := one.Subscribe(c.fields["topic"], selector, each); err != nil {
		return err
	}
	d.mutex.Lock()
	d.consumers[id] = one
	d.mutex.Unlock()
	if err := one.Start(); err != nil {
		return err
	}
	d.report.line("started", id)
	return nil
}

// Numbers that end with 0 always fail, those that end with 5 the first time.
func fails(number int, times int32) bool {
	return number%10 == 0 || number%10 == 5 && times == 0
}

func (d *driver) got(id string, number int, m *primitive.MessageExt) {
	d.report.line("got", id, number, m.GetProperty("attempt"), m.MsgId, m.Queue.QueueId, m.QueueOffset,
		m.ReconsumeTimes, m.GetTags(), time.Now().UnixMilli()-m.BornTimestamp, m.Topic, string(m.Body))
}
