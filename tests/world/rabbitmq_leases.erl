ok = rabbit:await_startup(),
{ok, Listener} = gen_tcp:listen(PORT, [{ip, {127, 0, 0, 1}}, {backlog, 128}]),
(fun Serve() ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Lease = spawn(fun() ->
        receive yours -> ok end,
        VirtualHost = iolist_to_binary(["test-", integer_to_list(erlang:unique_integer([positive]))]),
        rabbit_vhost:add(VirtualHost, <<"tests">>),
        ok = rabbit_auth_backend_internal:set_permissions(<<"guest">>, VirtualHost, <<".*">>, <<".*">>, <<".*">>, <<"tests">>),
        ok = gen_tcp:send(Socket, [VirtualHost, $\n]),
        receive {tcp_closed, Socket} -> rabbit_vhost:delete(VirtualHost, <<"tests">>) end
    end),
    ok = gen_tcp:controlling_process(Socket, Lease),
    Lease ! yours,
    Serve()
end)().
