// What openapi-generator makes for Go: EDGE PAUSED USER; prints what it saw.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"

	client "example.com/ordermesh/client"
)

type clients struct {
	orders   *client.OrdermeshOrdersV1OrdersServiceAPIService
	payments *client.OrdermeshPaymentsV1PaymentsServiceAPIService
}

func at(edge string) clients {
	configuration := client.NewConfiguration()
	configuration.Servers = client.ServerConfigurations{{URL: edge}}
	made := client.NewAPIClient(configuration)
	return clients{made.OrdermeshOrdersV1OrdersServiceAPI, made.OrdermeshPaymentsV1PaymentsServiceAPI}
}

func must[T any](answer T, _ *http.Response, err error) T {
	if err != nil {
		panic(err)
	}
	return answer
}

func reason[T any](_ T, _ *http.Response, err error) string {
	var failed *client.GenericOpenAPIError
	if !errors.As(err, &failed) {
		panic(err)
	}
	model := failed.Model().(client.Error)
	return model.Error.Details[0].GetReason()
}

// A call of the API reads one JSON and no more, so the stream is read by the client of the standard library.
func watched(edge, order string) (seen []string) {
	request, err := http.NewRequest("GET", edge+"/gateway/orders/"+order+":watch", nil)
	if err != nil {
		panic(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		data, found := strings.CutPrefix(lines.Text(), "data: {")
		if !found || !strings.Contains(data, "order") {
			continue
		}
		var event client.OrderEvent
		if err := json.Unmarshal([]byte("{"+data), &event); err != nil {
			panic(err)
		}
		seen = append(seen, event.Order.GetStatus())
	}
	if err := lines.Err(); err != nil {
		panic(err)
	}
	return seen
}

func main() {
	edge, paused, user := os.Args[1], os.Args[2], os.Args[3]
	here, there, always := at(edge), at(paused), context.Background()
	opened := must(here.payments.PaymentsServiceCreateAccount(always).Account(*client.NewAccount(user)).Execute())
	topUp := here.payments.PaymentsServiceTopUpAccount(always, user).IdempotencyKey("monday").
		PaymentsServiceTopUpAccountRequest(*client.NewPaymentsServiceTopUpAccountRequest("1000"))
	toppedUp, repeated := must(topUp.Execute()), must(topUp.Execute())
	placed := must(here.orders.OrdersServiceCreateOrder(always).Order(*client.NewOrder(user, "300")).Execute())
	events := watched(edge, placed.GetId())
	var listed []string
	for _, order := range must(here.orders.OrdersServiceListOrders(always).UserId(user).Execute()).Orders {
		listed = append(listed, order.GetStatus())
	}
	waiting := must(there.orders.OrdersServiceCreateOrder(always).Order(*client.NewOrder(user, "300")).Execute())
	cancelled := must(there.orders.OrdersServiceCancelOrder(always, waiting.GetId()).Execute())
	seen := map[string]any{
		"opened":    opened.GetBalance(),
		"topped_up": toppedUp.Account.GetBalance(),
		"repeated":  repeated.Entry.GetSequence(),
		"placed":    placed.GetStatus(),
		"watched":   events,
		"listed":    listed,
		"cancelled": cancelled.HasCancelRequestTime(),
		"too_late":  reason(here.orders.OrdersServiceCancelOrder(always, placed.GetId()).Execute()),
		"absent":    reason(here.payments.PaymentsServiceGetAccount(always, "nobody").Execute()),
	}
	if err := json.NewEncoder(os.Stdout).Encode(seen); err != nil {
		panic(err)
	}
}
