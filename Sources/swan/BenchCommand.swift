import ArgumentParser

/// `swan bench`: how fast this machine is, and how good a model.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure speed on this machine, or a model's quality.",
        discussion: """
            Without a subcommand it measures speed: 'swan bench dit vae' is 'swan bench speed dit vae'. \
            Quality takes minutes and has to be asked for.
            """,
        subcommands: [BenchSpeedCommand.self, BenchQualityCommand.self],
        defaultSubcommand: BenchSpeedCommand.self
    )
}
