/** What the demo's application does, as SQL. */
export interface Step {
  /** How often, relative to the others. */
  readonly weight: number;
  /** The statements of one transaction. */
  readonly sql: readonly string[];
  readonly rollsBack?: boolean;
}

/** Something that a person should hear of; one transaction. */
export interface WorkloadEvent {
  readonly says: string;
  readonly sql: (round: number) => readonly string[];
  /** Only in the first round. */
  readonly once: boolean;
}

export const WORKLOAD_SETUP = "CREATE SEQUENCE flight_ids START 10000000";

const AIRPORT = "(SELECT iata FROM airports OFFSET floor(random() * 3000)::int LIMIT 1)";
/** Loaded flights have the numbers 10, 20, … 3,000,000. */
const FLIGHT = "(10 * (1 + floor(random() * 300000)))::bigint";

export const STEPS: readonly Step[] = [
  {
    weight: 30,
    sql: [
      `INSERT INTO flights SELECT nextval('flight_ids'), now() + i * interval '1 minute', 0, 100 + (random() * 2000)::int,
         ${AIRPORT}, ${AIRPORT}, round((29 + random() * 300)::numeric, 2)
       FROM generate_series(1, 1 + (random() * 5)::int) i`,
    ],
  },
  {
    weight: 30,
    sql: [
      `UPDATE flights SET delay_minutes = delay_minutes + 5 FROM (SELECT ${FLIGHT} AS first) f
       WHERE id BETWEEN f.first AND f.first + 150`,
    ],
  },
  // The key contains departs_at: a new key, and often another partition.
  {
    weight: 4,
    sql: [
      `UPDATE flights SET departs_at = departs_at + interval '80 days' WHERE id = (SELECT ${FLIGHT})
         AND departs_at < '2001-06-01'`,
    ],
  },
  {
    weight: 8,
    sql: [
      `DELETE FROM flights USING (SELECT ${FLIGHT} AS first) f WHERE id BETWEEN f.first AND f.first + 30`,
    ],
  },
  {
    weight: 4,
    sql: [
      `UPDATE airports SET iata = CASE WHEN iata LIKE '%-NEW' THEN left(iata, -4) ELSE iata || '-NEW' END
       WHERE iata = ${AIRPORT}`,
    ],
  },
  {
    weight: 8,
    sql: [
      `UPDATE maps SET views = views + 1, viewed_at = clock_timestamp()
       WHERE name = (SELECT name FROM maps ORDER BY random() LIMIT 1)`,
    ],
  },
  { weight: 0.3, sql: [`UPDATE maps SET topology = topology || ' ' WHERE name = 'londonTubeLines'`] },
  {
    weight: 8,
    sql: [
      `UPDATE movies SET worldwide_gross = coalesce(worldwide_gross, 0) + 1234.56,
         genres = array_append(genres[1:3], 'Revival, "restored"') WHERE id = 1 + (random() * 3200)::int`,
    ],
  },
  {
    weight: 5,
    sql: [
      `UPDATE earthquakes SET felt = coalesce(felt, 0) + 1, properties = jsonb_set(properties, '{felt}', to_jsonb(coalesce(felt, 0) + 1))
       WHERE id = (SELECT id FROM earthquakes OFFSET floor(random() * 1700)::int LIMIT 1)`,
    ],
  },
  {
    weight: 5,
    sql: [
      `INSERT INTO weather VALUES ('Seattle', date '2016-01-01' + (random() * 60)::int, random() * 9, 10, 2, NULL, '')
       ON CONFLICT (location, day) DO UPDATE SET precipitation = excluded.precipitation, weather = NULL`,
    ],
  },
  {
    weight: 5,
    sql: [
      `UPDATE birdstrikes SET cost = cost + 1::money, damage = NULL
       WHERE ctid = (SELECT ctid FROM birdstrikes OFFSET floor(random() * 9000)::int LIMIT 1)`,
      `INSERT INTO birdstrikes (airport, day, species, cost) VALUES ('DEMO', current_date, 'Unknown, "large"', 0)`,
    ],
  },
  {
    weight: 3,
    sql: [
      `DELETE FROM birdstrikes WHERE ctid = (SELECT ctid FROM birdstrikes OFFSET floor(random() * 9000)::int LIMIT 1)`,
      `INSERT INTO species (item_id, common_name, habitat_percent) VALUES ('demo', E'line\\nbreak', 'NaN')`,
    ],
  },
  // Never to be seen on the stage.
  { weight: 3, sql: ["UPDATE flights SET fare = 0 WHERE id < 5000", "DELETE FROM movies"], rollsBack: true },
];

export const EVENTS: readonly WorkloadEvent[] = [
  {
    says: "TRUNCATE departures, and 40 new rows in the same transaction",
    sql: () => [
      "TRUNCATE departures",
      `INSERT INTO departures SELECT row_number() OVER (), id, destination, nullif('', destination)
       FROM (SELECT id, destination FROM flights LIMIT 40) f`,
    ],
    once: false,
  },
  {
    says: "ALTER TABLE movies ADD COLUMN streaming … DEFAULT: no change event tells that, so movies is copied afresh",
    sql: () => ["ALTER TABLE movies ADD COLUMN streaming boolean NOT NULL DEFAULT false"],
    once: true,
  },
  {
    says: "CREATE TABLE bookings: it will be found, published and copied without a restart",
    sql: (round) => {
      const name = round === 0 ? "bookings" : `bookings_${round}`;
      return [
        `CREATE TABLE ${name} (id int PRIMARY KEY, flight bigint, passenger text, booked_at timestamptz DEFAULT now())`,
        `INSERT INTO ${name} SELECT i, i * 10, 'Passenger ' || i FROM generate_series(1, 2000) i`,
      ];
    },
    once: false,
  },
  {
    says: "one transaction that changes 20,000 flights",
    sql: () => ["UPDATE flights SET fare = fare + 1 WHERE id BETWEEN 100000 AND 300000"],
    once: false,
  },
  {
    says: "ALTER TABLE airports ADD COLUMN opened: new files have the new column",
    sql: () => [
      "ALTER TABLE airports ADD COLUMN opened date",
      "UPDATE airports SET opened = '1930-05-17' WHERE state = 'CA'",
    ],
    once: true,
  },
  {
    says: "ALTER TABLE weather ALTER wind TYPE numeric: the table is rewritten, so it is copied afresh",
    sql: () => ["ALTER TABLE weather ALTER wind TYPE numeric(6,2)"],
    once: true,
  },
];
