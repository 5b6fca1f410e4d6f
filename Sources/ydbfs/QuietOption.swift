import ArgumentParser

/// A verb that may be told to say nothing but errors.
protocol QuietVerb {
    var quiet: QuietOption { get }
}

struct QuietOption: ParsableArguments {
    @Flag(
        name: [.customShort("q"), .customLong("quiet")],
        help: "Print nothing but errors, what was asked for, and what was left out.")
    var isOn = false

    /// From here on it holds.
    func apply() { Output.isQuiet = isOn }
}
