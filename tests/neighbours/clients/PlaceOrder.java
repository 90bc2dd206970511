// What openapi-generator makes for java.net.http: EDGE PAUSED USER; prints what it saw.
import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.OrdermeshOrdersV1OrdersServiceApi;
import org.openapitools.client.api.OrdermeshPaymentsV1PaymentsServiceApi;
import org.openapitools.client.model.Account;
import org.openapitools.client.model.Order;
import org.openapitools.client.model.OrderEvent;
import org.openapitools.client.model.PaymentsServiceTopUpAccountRequest;
import org.openapitools.client.model.Problem;

public final class PlaceOrder {
  interface Call {
    void make() throws ApiException;
  }

  static final ObjectMapper JSON = ApiClient.createDefaultObjectMapper();

  static ApiClient client(String edge) {
    ApiClient client = new ApiClient();
    client.updateBaseUri(edge);
    return client;
  }

  static String reason(Call call) throws Exception {
    try {
      call.make();
      return null;
    } catch (ApiException error) {
      // It accepts both kinds of errors, and gets the standard's.
      return JSON.readValue(error.getResponseBody(), Problem.class).getReason();
    }
  }

  // A call of the API reads one JSON and no more, so the stream is read by the client below it.
  static List<String> watched(ApiClient client, String order) throws Exception {
    var uri = URI.create(client.getBaseUri() + "/gateway/orders/" + order + ":watch");
    var request = HttpRequest.newBuilder(uri).header("accept", "text/event-stream").build();
    var lines = client.getHttpClient().send(request, HttpResponse.BodyHandlers.ofLines()).body();
    var seen = new ArrayList<String>();
    for (String line : (Iterable<String>) lines::iterator) {
      if (line.startsWith("data: {") && line.contains("order")) {
        var event = JSON.readValue(line.substring("data: ".length()), OrderEvent.class);
        seen.add(event.getOrder().getStatus().getValue());
      }
    }
    return seen;
  }

  public static void main(String[] arguments) throws Exception {
    String edge = arguments[0], paused = arguments[1], user = arguments[2];
    var orders = new OrdermeshOrdersV1OrdersServiceApi(client(edge));
    var payments = new OrdermeshPaymentsV1PaymentsServiceApi(client(edge));
    var seen = new LinkedHashMap<String, Object>();
    seen.put("opened", payments.paymentsServiceCreateAccount(new Account().userId(user), null, null).getBalance());
    var topUp = new PaymentsServiceTopUpAccountRequest().amount("1000");
    seen.put("topped_up", payments.paymentsServiceTopUpAccount(user, topUp, "monday", null, null).getAccount().getBalance());
    seen.put("repeated", payments.paymentsServiceTopUpAccount(user, topUp, "monday", null, null).getEntry().getSequence());
    var placed = orders.ordersServiceCreateOrder(new Order().userId(user).amount("300"), null, null);
    seen.put("placed", placed.getStatus().getValue());
    seen.put("watched", watched(client(edge), placed.getId()));
    var listed = orders.ordersServiceListOrders(null, null, null, null, user, null, null, null).getOrders();
    seen.put("listed", listed.stream().map(order -> order.getStatus().getValue()).toList());
    var there = new OrdermeshOrdersV1OrdersServiceApi(client(paused));
    var waiting = there.ordersServiceCreateOrder(new Order().userId(user).amount("300"), null, null);
    seen.put("cancelled", there.ordersServiceCancelOrder(waiting.getId(), null, null, null, null).getCancelRequestTime() != null);
    seen.put("too_late", reason(() -> orders.ordersServiceCancelOrder(placed.getId(), null, null, null, null)));
    seen.put("absent", reason(() -> payments.paymentsServiceGetAccount("nobody", null, null)));
    System.out.println(JSON.writeValueAsString(seen));
  }
}
