"""The sweep with fault injection: `python -m chaos.hurt_sweep`."""

from chaos.injector import bend_clock

bend_clock()

from worker.sweep import main  # after the clock is replaced

if __name__ == "__main__":
    main()
