import Millrace

/// The workflow of `order.yaml`, said in Swift: names are the compiler's, loops and conditions Swift's own.
public let order = Workflow("order") {
    Step("validate").sql(
        """
        with placed (placed) as (
          select coalesce(nullif($1 -> 'run', 'null'),
                          '{"order_id": 1, "items": [{"name": "tea", "price": 4.5, "count": 3},
                                                     {"name": "cup", "price": 9, "count": 1}]}')
        )
        select jsonb_build_object('order_id', placed -> 'order_id',
                                  'pieces', sum((item ->> 'count')::int),
                                  'total', sum((item ->> 'price')::numeric * (item ->> 'count')::int))
          from placed, jsonb_array_elements(placed -> 'items') as item
         group by placed

        """
    )
    Step("charge").needs("validate")
        .sql(
            """
            select jsonb_build_object('paid', true, 'amount', $1 -> 'total',
                                      'receipt', md5(($1 ->> 'order') || ':' || ($1 ->> 'total')))

            """
        )
        .input(["order": "$.needs.validate.order_id", "total": "$.needs.validate.total"])
        .retry(limit: 5, backoff: .seconds(1), factor: 2, max: .seconds(30), jitter: 0.2)
        .timeout(.seconds(30))
    // Somebody packs: meanwhile the order is charged.
    for (key, seconds) in [("pack", 2), ("label", 1)] {
        Step(key).needs("validate").sleep(.seconds(seconds))
    }
    Step("ship").needs("charge", "pack", "label")
        .sql("select jsonb_build_object('parcel', 'MR-' || upper(left($1 ->> 'receipt', 8)))")
        .input(["receipt": "$.needs.charge.receipt"])
    Step("confirm").needs("ship", "validate")
        .sql("select to_jsonb(format('Your parcel %s with %s pieces is on its way.', $1 ->> 'parcel', $1 ->> 'pieces'))")
        .input(["parcel": "$.needs.ship.parcel", "pieces": "$.needs.validate.pieces"])
}
.description("Checks, charges, packs and confirms an order")
