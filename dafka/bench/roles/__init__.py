"""What the processes of a round do, a function for each role; `dafka.bench.worker` starts them."""
