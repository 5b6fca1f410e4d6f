import Bytes
import Foundation

/// `YearSimulation FOLDER [--hours N] [--rows N] [--changes N] [--every DAYS]`: prints a line of CSV
/// for each sampled day.
@main
enum Main {
    static func main() throws {
        var options = Simulation.Options()
        var arguments = Array(CommandLine.arguments.dropFirst())
        func take(_ name: String, _ value: inout Int) throws {
            guard let index = arguments.firstIndex(of: name) else { return }
            guard index + 1 < arguments.count, let number = Int(arguments[index + 1]), number > 0
            else { throw Failure(.invalid, "\(name) takes a number from 1 on") }
            value = number
            arguments.removeSubrange(index...index + 1)
        }
        try take("--hours", &options.hours)
        try take("--rows", &options.rows)
        try take("--changes", &options.changes)
        try take("--every", &options.daysBetweenSamples)
        guard arguments.count == 1 else {
            throw Failure(.invalid, "YearSimulation FOLDER [--hours N] [--rows N] [--changes N]")
        }
        print(
            "day,points,dropped,files,stored_bytes,data_bytes,log_bytes,csv_bytes,backup_ms,"
                + "open_ms,read_ms,pages_decoded,row_files_opened,checked_points")
        try Simulation(options, folder: arguments[0]).run { sample in
            let milliseconds = [
                sample.backupMilliseconds, sample.openMilliseconds, sample.readMilliseconds,
            ].map { String(format: "%.2f", $0) }.joined(separator: ",")
            print(
                "\(sample.day),\(sample.points),\(sample.droppedPoints),\(sample.files),"
                    + "\(sample.storedBytes),\(sample.dataBytes),\(sample.logBytes),"
                    + "\(sample.liveCSVBytes),\(milliseconds),\(sample.pagesDecoded),"
                    + "\(sample.rowFilesOpened),\(sample.checkedPoints)")
            fflush(nil)
        }
    }
}
